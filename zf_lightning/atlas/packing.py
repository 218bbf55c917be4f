"""An atlas's tensors as compressed bytes, at the speed of a disk."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
import zstandard
from numpy.typing import NDArray
from torch import Tensor

from zf_lightning.deconv.locality import Pair

Pixels = NDArray[np.uint8]

#: Of Zstandard. What is left of photographs and projections has no repetitions to look for.
LEVEL = 1


def packed_numbers(values: Tensor) -> Tensor:
    """Compressed bytes `[N]` uint8 of numbers of any type, exact."""
    return _packed(values.cpu().reshape(-1, 1).view(torch.uint8).T.contiguous())


def unpacked_numbers(data: Tensor, kind: str, shape: Sequence[int]) -> Tensor:
    """The tensor of a NumPy type and shape that `packed_numbers` compressed.

    Raises ValueError for what it did not, as all that unpack do.
    """
    size = np.dtype(kind).itemsize
    planes = _unpacked(data, size * math.prod(shape)).numpy().reshape(size, -1)
    return torch.from_numpy(planes.T.copy().view(kind).reshape(shape))


def packed_levels(levels: Tensor) -> Tensor:
    """Compressed bytes of projections in steps, `[M, k, 3, h, w]` int16."""
    levels = levels.cpu()
    planes = torch.empty(2, *levels.shape, dtype=torch.uint8)
    # One feature map after the other: memory for all of them at once takes longer than the work.
    for some, low, high in zip(levels, *planes, strict=True):
        apart = _apart(some)
        # The sign in the last bit: the upper bytes of small values are 0.
        coded = (apart << 1).bitwise_xor_(apart >> 15)
        low.copy_(coded & 255)
        high.copy_(coded >> 8)
    return _packed(planes)


def unpacked_levels(data: Tensor, shape: Sequence[int]) -> Tensor:
    """The projections of a shape that `packed_levels` compressed."""
    levels = torch.empty(*shape, dtype=torch.int16)
    planes = _unpacked(data, 2 * levels.numel()).view(2, *shape)
    for some, low, high in zip(levels, *planes, strict=True):
        coded = (high.to(torch.int16) << 8).bitwise_or_(low)
        some.copy_(_together((coded >> 1).bitwise_xor_(-(coded & 1))))
    return levels


def packed_images(images: Iterable[Pixels]) -> Tensor:
    """Compressed bytes of images of different sizes, `[3, h, w]` uint8 each, exact."""
    parts = [np.empty(0, np.uint8)]
    for image in images:
        # What is new beside the pixels on the left and above.
        new = image.copy()
        new[::2] -= image[1]
        new[:, :, 1:] -= new[:, :, :-1].copy()
        new[:, 1:] -= new[:, :-1].copy()
        parts.append(new.ravel())
    return _packed(torch.from_numpy(np.concatenate(parts)))


def unpacked_images(data: Tensor, sizes: Sequence[Pair]) -> list[Pixels]:
    """The images of these heights and widths that `packed_images` compressed."""
    numbers = [3 * height * width for height, width in sizes]
    parts = _unpacked(data, sum(numbers)).split(numbers)
    images = []
    for part, size in zip(parts, sizes, strict=True):
        # PyTorch's takes a quarter of the time of NumPy's.
        rows = part.view(3, *size).cumsum(1, dtype=torch.uint8)
        image = rows.cumsum(2, dtype=torch.uint8).numpy()
        image[::2] += image[1]
        images.append(image)
    return images


def _packed(values: Tensor) -> Tensor:
    data = zstandard.ZstdCompressor(level=LEVEL).compress(values.numpy().data)
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _unpacked(data: Tensor, number: int) -> Tensor:
    # One byte more than there should be, to see whether there are more.
    values, found = np.empty(number + 1, np.uint8), 0
    try:
        with zstandard.ZstdDecompressor().stream_reader(data.numpy().data) as reader:
            while read := reader.readinto(values[found:].data):
                found += read
    except zstandard.ZstdError as problem:
        raise ValueError(str(problem)) from problem
    if found != number:
        raise ValueError(f"not the {number} bytes that belong there")
    return torch.from_numpy(values[:number])


def _apart(levels: Tensor) -> Tensor:
    """Red and blue of `[k, 3, h, w]` as differences from green, which resembles both."""
    apart = levels.clone()
    apart[:, ::2] -= levels[:, 1:2]
    return apart


def _together(apart: Tensor) -> Tensor:
    apart[:, ::2] += apart[:, 1:2]
    return apart
