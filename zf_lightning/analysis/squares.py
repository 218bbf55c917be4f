"""Squares that hide a part of an image (Figs. 7 and 8)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from zf_lightning.errors import UserError


def grid_starts(length: int, size: int, stride: int) -> list[int]:
    """Where squares begin along an axis of `length` pixels: 0, `stride`, 2 `stride`, ...

    The paper says only that the square slides over the image. Here the last is cut off at the
    border, so that every pixel is hidden by some square (if the stride does not exceed the size),
    as in Captum.
    Raises UserError if size or stride is not positive, or the square exceeds the image.
    """
    if size < 1 or stride < 1:
        raise UserError(f"A square of {size} pixels, {stride} apart: both must be at least 1.")
    if size > length:
        raise UserError(f"A square of {size} pixels is larger than the image of {length}.")
    count = -(-(length - size) // stride) + 1
    return [step * stride for step in range(count)]


def hide(images: Tensor, tops: Tensor, lefts: Tensor, size: int, fill: Tensor | float) -> Tensor:
    """Images `[N, 3, H, W]` with a square of `fill` in each, cut off at the border.

    Args:
        tops, lefts: `[N]` int64, first row and column of each square; may be negative.
        size: height and width in pixels.
        fill: a number, or values that broadcast to `[3, H, W]`.
    """
    rows = torch.arange(images.shape[2], device=images.device) - tops[:, None]
    columns = torch.arange(images.shape[3], device=images.device) - lefts[:, None]
    inside = ((rows >= 0) & (rows < size))[:, None, :, None]
    inside = inside & ((columns >= 0) & (columns < size))[:, None, None, :]
    value = torch.as_tensor(fill, dtype=images.dtype, device=images.device)
    return torch.where(inside, value, images)


def around(centres: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First rows and columns `[N]` of squares around centres `[N, 2]` (row, column), in pixels.

    Coordinates are continuous: the middle of the first pixel is 0.5.
    """
    starts = torch.round(centres.double() - size / 2).to(torch.int64)
    return starts[:, 0], starts[:, 1]


def random_starts(
    count: int, image_size: Sequence[int], size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """First rows and columns `[count]` of squares that lie anywhere inside an image, uniformly."""
    ends = [length - size + 1 for length in image_size]
    if min(ends) < 1:
        raise UserError(f"A square of {size} pixels is larger than the image of {image_size}.")
    tops, lefts = (torch.randint(end, (count,), generator=generator) for end in ends)
    return tops, lefts
