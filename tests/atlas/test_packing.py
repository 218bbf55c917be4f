"""What is packed comes back to the bit, and what is not packed is refused."""

import numpy as np
import pytest
import torch

from zf_lightning.atlas.packing import (
    packed_images,
    packed_levels,
    packed_numbers,
    unpacked_images,
    unpacked_levels,
    unpacked_numbers,
)


@pytest.mark.parametrize("shape", [(4, 2), (0, 9), (3,)])
def test_numbers(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(-(2**40), 2**40, shape, generator=generator)
    again = unpacked_numbers(packed_numbers(values), "int64", shape)
    assert torch.equal(again, values) and again.dtype == values.dtype


@pytest.mark.parametrize("maps", [0, 1, 3])
def test_levels(maps: int) -> None:
    shape = (maps, 2, 3, 5, 7)
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(-1024, 1025, shape, generator=generator).to(torch.int16)
    assert torch.equal(unpacked_levels(packed_levels(levels), shape), levels)


@pytest.mark.parametrize("sizes", [[], [(1, 1)], [(4, 7), (1, 3), (9, 2)]])
def test_images_of_different_sizes(sizes: list[tuple[int, int]]) -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (3, *size), np.uint8) for size in sizes]
    before = [image.copy() for image in images]
    again = unpacked_images(packed_images(images), sizes)
    for one, other, kept in zip(images, again, before, strict=True):
        assert np.array_equal(other, one) and np.array_equal(one, kept)


def test_smooth_images_and_small_levels_take_less_room() -> None:
    ramp = np.broadcast_to(np.arange(100, dtype=np.uint8), (3, 100, 100))
    assert len(packed_images([ramp])) < 500
    levels = torch.randint(-3, 4, (1, 1, 3, 100, 100), dtype=torch.int16)
    assert len(packed_levels(levels)) < levels.numel() // 2


def test_other_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"bytes|frame|decompress"):
        unpacked_numbers(torch.zeros(9, dtype=torch.uint8), "int64", (1,))
    with pytest.raises(ValueError, match="not the 12 bytes"):
        unpacked_images(packed_images([]), [(2, 2)])
    with pytest.raises(ValueError, match=r"8 bytes|zstd"):
        unpacked_numbers(packed_numbers(torch.arange(2)), "int64", (1,))
