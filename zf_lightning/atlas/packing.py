"""An atlas's tensors as compressed bytes: two fifths of the room, at the speed of a disk."""

import zlib
from collections.abc import Sequence

import numpy as np
import torch
import zstandard
from torch import Tensor

#: Projections are kept in this many steps from zero to their peak. A picture is drawn with 127,
#: from zero to a white at a half to a tenth of the peak: rounding moves a pixel by about one.
STEPS = 1024
#: Of Zstandard. Photographs have repetitions that are worth looking for, projections have none.
PIXELS_LEVEL, LEVEL = 3, 1


def rounded(scaled: Tensor) -> Tensor:
    """Projections divided by their peaks as they are kept: float16 multiples of 1 / `STEPS`."""
    return (scaled.float() * STEPS).round_().div_(STEPS).half()


def packed(values: Tensor) -> Tensor:
    """Compressed bytes `[N]` uint8; of float16 `rounded` remains, all else is exact.

    Pixels (uint8) and projections (float16) are `[M, k, 3, h, w]`.
    """
    values, level = values.detach().cpu().contiguous(), LEVEL
    # One feature map after the other: memory for all of them at once takes longer than the work.
    if values.dtype == torch.uint8:
        level, planes = PIXELS_LEVEL, torch.empty_like(values)
        for pixels, steps in zip(values, planes, strict=True):
            # What is new beside the pixels on the left and above.
            steps.copy_(_steps(_steps(_apart(pixels), -1), -2))
    elif values.dtype == torch.float16:
        planes = torch.empty(2, *values.shape, dtype=torch.uint8)
        for projections, low, high in zip(values, *planes, strict=True):
            levels = _apart((projections.float() * STEPS).round_().to(torch.int16))
            # The sign in the last bit: the upper bytes of small values are 0.
            coded = (levels << 1).bitwise_xor_(levels >> 15)
            low.copy_(coded & 255)
            high.copy_(coded >> 8)
    else:
        planes = values.reshape(-1, 1).view(torch.uint8).T.contiguous()
    data = zstandard.ZstdCompressor(level=level).compress(planes.numpy().data)
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def unpacked(data: Tensor, kind: str, shape: Sequence[int]) -> Tensor:
    """The tensor of a NumPy type and shape that `packed` compressed.

    Raises ValueError for what it did not.
    """
    try:
        planes = bytearray(zstandard.ZstdDecompressor().decompress(data.numpy().data))
    except zstandard.ZstdError as problem:
        raise ValueError(str(problem)) from problem
    flat = torch.from_numpy(np.frombuffer(planes, np.uint8))
    if kind == "uint8":
        values = flat.view(*shape)
        for pixels in values:
            rows = pixels.cumsum(-2, dtype=torch.uint8)
            pixels.copy_(_together(rows.cumsum(-1, dtype=torch.uint8)))
        return values
    if kind == "float16":
        values = torch.empty(*shape, dtype=torch.float16)
        for projections, low, high in zip(values, *flat.view(2, *shape), strict=True):
            coded = (high.to(torch.int16) << 8).bitwise_or_(low)
            levels = (coded >> 1).bitwise_xor_(-(coded & 1))
            projections.copy_(_together(levels).float() / STEPS)
        return values
    bytes_each = np.frombuffer(planes, np.uint8).reshape(np.dtype(kind).itemsize, -1)
    return torch.from_numpy(bytes_each.T.copy().view(kind).reshape(shape))


def unpacked_2(data: Tensor, kind: str, shape: Sequence[int]) -> Tensor:
    """The same of `zf-lightning atlas 2`, before 0.2: pixels by rows, float16 as it is.

    Raises zlib.error.
    """
    planes = np.frombuffer(zlib.decompress(data.numpy().tobytes()), np.uint8)
    array = planes.reshape(np.dtype(kind).itemsize, -1).T.copy().view(kind).reshape(shape)
    return torch.from_numpy(np.cumsum(array, -1, np.uint8) if kind == "uint8" else array)


def _steps(pixels: Tensor, axis: int) -> Tensor:
    steps = pixels.clone()
    steps.narrow(axis, 1, steps.shape[axis] - 1).sub_(pixels.narrow(axis, 0, steps.shape[axis] - 1))
    return steps


def _apart(pixels: Tensor) -> Tensor:
    """Red and blue of `[k, 3, h, w]` as differences from green, which resembles both."""
    apart = pixels.clone()
    apart[:, ::2] -= pixels[:, 1:2]
    return apart


def _together(apart: Tensor) -> Tensor:
    apart[:, ::2] += apart[:, 1:2]
    return apart
