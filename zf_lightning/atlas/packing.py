"""An atlas's tensors as compressed bytes: a third of the room, at the speed of a disk."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Projections are kept in this many steps from zero to their peak. A picture is drawn with 127,
#: from zero to a white at a half to a tenth of the peak: rounding moves a pixel by about one.
STEPS = 1024


def rounded(scaled: Tensor) -> Tensor:
    """Projections divided by their peaks as they are kept: float16 multiples of 1 / `STEPS`."""
    return (scaled.float() * STEPS).round().div(STEPS).half()


def packed(values: Tensor) -> Tensor:
    """Compressed bytes `[N]` uint8; of float16 `rounded` remains, all else is exact.

    Pixels (uint8) and projections (float16) are `[M, k, 3, h, w]`.
    """
    array = values.detach().cpu().contiguous().numpy()
    if array.dtype == np.uint8:
        # What is new beside the pixels on the left and above.
        array = np.diff(_apart(array), axis=-1, prepend=np.uint8(0))
        array = np.diff(array, axis=-2, prepend=np.uint8(0))
    elif array.dtype == np.float16:
        levels = _apart(np.rint(array.astype(np.float32) * STEPS).astype(np.int16))
        # The sign in the last bit: the upper bytes of small values are 0.
        array = levels << 1 ^ levels >> 15
    planes = array.reshape(-1, 1).view(np.uint8).T
    # By frequency and runs alone: longer repetitions there are none, and looking takes time.
    packer = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    data = packer.compress(planes.tobytes()) + packer.flush()
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def unpacked(data: Tensor, kind: str, shape: Sequence[int]) -> Tensor:
    """The tensor of a NumPy type and shape that `packed` compressed. Raises zlib.error."""
    if kind == "float16":
        low, high = _planes(data, 2)
        coded = (high.astype(np.uint16) << 8) + low
        levels = (coded >> 1).view(np.int16) ^ -(coded & 1).view(np.int16)
        # Far faster from a table than by arithmetic in 16 bits.
        table = (np.arange(-STEPS, STEPS + 1) / STEPS).astype(np.float16)
        return torch.from_numpy(table[_together(levels.reshape(shape)) + STEPS])
    array = _planes(data, np.dtype(kind).itemsize).T.copy().view(kind).reshape(shape)
    if kind == "uint8":
        for row in range(1, array.shape[-2]):
            array[..., row, :] += array[..., row - 1, :]
        array = _together(np.cumsum(array, axis=-1, dtype=np.uint8))
    return torch.from_numpy(array)


def unpacked_2(data: Tensor, kind: str, shape: Sequence[int]) -> Tensor:
    """The same of `zf-lightning atlas 2`, before 0.2: pixels by rows, float16 as it is."""
    array = _planes(data, np.dtype(kind).itemsize).T.copy().view(kind).reshape(shape)
    return torch.from_numpy(np.cumsum(array, -1, np.uint8) if kind == "uint8" else array)


def _planes(data: Tensor, number: int) -> NDArray[np.uint8]:
    return np.frombuffer(zlib.decompress(data.numpy().tobytes()), np.uint8).reshape(number, -1)


def _apart(pixels: NDArray[Any]) -> NDArray[Any]:
    """Red and blue as differences from green, which resembles both."""
    apart = pixels.copy()
    apart[:, :, ::2] -= pixels[:, :, 1:2]
    return apart


def _together(apart: NDArray[Any]) -> NDArray[Any]:
    apart[:, :, ::2] += apart[:, :, 1:2]
    return apart
