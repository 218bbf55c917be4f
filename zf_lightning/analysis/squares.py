"""Squares that hide a part of an image (Figs. 7 and 8)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from zf_lightning.errors import UserError


def grid_starts(length: int, size: int, stride: int) -> list[int]:
    """Where squares begin along an axis of `length` pixels: 0, `stride`, 2 `stride`, ...

    The paper says only that the square slides over the image. As in Captum, the last one is cut off
    at the border, so that every pixel is hidden at some position if the stride is at most the size.
    Raises UserError if size or stride is not positive, or the square exceeds the image.
    """
    if size < 1 or stride < 1:
        raise UserError(f"A square of {size} pixels, {stride} apart: both must be at least 1.")
    if size > length:
        raise UserError(f"A square of {size} pixels is larger than the image of {length}.")
    count = -(-(length - size) // stride) + 1
    return [step * stride for step in range(count)]


def hide(images: Tensor, starts: Tensor, size: int, fill: Tensor | float) -> Tensor:
    """Images `[N, 3, H, W]`, each with a square of `fill`, cut off at the border.

    Args:
        starts: `[N, 2]` int64, first row and column of each square; may be negative.
        size: height and width in pixels.
        fill: a number, or values that broadcast to `[3, H, W]`.
    """
    starts = starts.to(images.device)
    rows = torch.arange(images.shape[2], device=images.device) - starts[:, :1]
    columns = torch.arange(images.shape[3], device=images.device) - starts[:, 1:]
    inside = ((rows >= 0) & (rows < size))[:, None, :, None]
    inside = inside & ((columns >= 0) & (columns < size))[:, None, None, :]
    value = torch.as_tensor(fill, dtype=images.dtype, device=images.device)
    return torch.where(inside, value, images)


def around(centres: Tensor, size: int) -> Tensor:
    """First row and column `[N, 2]` of squares around centres `[N, 2]` (row, column), in pixels.

    Coordinates are continuous: the middle of the first pixel is 0.5.
    """
    return torch.round(centres.double() - size / 2).to(torch.int64)


def random_starts(
    count: int, image_size: Sequence[int], size: int, generator: torch.Generator
) -> Tensor:
    """First row and column `[count, 2]` of squares drawn uniformly inside an image."""
    ends = [length - size + 1 for length in image_size]
    if min(ends) < 1:
        raise UserError(f"A square of {size} pixels is larger than the image of {image_size}.")
    return torch.stack([torch.randint(end, (count,), generator=generator) for end in ends], 1)
