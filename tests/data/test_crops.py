"""Crops, against torchvision's own."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import TenCrop
from torchvision.transforms import functional as torchvision_functional

from zf_lightning.data import Preprocessing
from zf_lightning.data.crops import CENTRE_CROP, crop_and_mirror, random_placement, ten_crop


@given(size=st.integers(8, 40), margin=st.integers(0, 20), seed=st.integers(0, 99))
def test_ten_crop_is_torchvisions(size: int, margin: int, seed: int) -> None:
    images = torch.rand(2, 3, size + margin, size + margin, generator=torch.manual_seed(seed))
    for number, expected in enumerate(TenCrop(size)(images)):
        assert torch.equal(ten_crop(images, size, number), expected)


def test_ten_crops_of_uint8_at_the_papers_size_are_torchvisions() -> None:
    images = torch.randint(0, 256, (2, 3, 256, 256), dtype=torch.uint8)
    crops = Preprocessing(input_size=224, mean="none", scale="none").ten_crops(images)
    found, expected = list(crops), TenCrop(224)(images)
    for crop, same in zip(found, expected, strict=True):
        assert torch.equal(crop, same.float())
    centre = Preprocessing(input_size=224, mean="none", scale="none")(images)
    assert torch.equal(found[CENTRE_CROP], centre)


def test_each_image_gets_its_own_crop() -> None:
    images = torch.randint(0, 256, (40, 3, 30, 30), dtype=torch.uint8)
    placement = random_placement(torch.arange(40), margin=10, seed=1, epoch=2)
    crops = crop_and_mirror(images, 20, placement)
    for image, crop, (top, left, mirrored) in zip(images, crops, placement.tolist(), strict=True):
        expected = torchvision_functional.crop(image, top, left, 20, 20)
        if mirrored:
            expected = torchvision_functional.hflip(expected)
        assert torch.equal(crop, expected)


def test_placement_is_a_function_of_seed_epoch_and_index_alone() -> None:
    def place(indices: torch.Tensor, seed: int = 3, epoch: int = 4) -> torch.Tensor:
        return random_placement(indices, margin=32, seed=seed, epoch=epoch)

    whole = place(torch.arange(100))
    shuffled = torch.randperm(100, generator=torch.manual_seed(0))
    assert torch.equal(place(shuffled), whole[shuffled])
    assert torch.equal(place(torch.tensor([77])), whole[77:78])
    assert not torch.equal(place(torch.arange(100), epoch=5), whole)
    assert not torch.equal(place(torch.arange(100), seed=4), whole)


def test_placement_is_uniform_and_its_parts_independent() -> None:
    placement = random_placement(torch.arange(200_000), margin=32, seed=0, epoch=0)
    top, left, mirrored = placement.unbind(1)
    for offsets in (top, left):
        counts = torch.bincount(offsets, minlength=33).double()
        assert len(counts) == 33
        # Chi-square with 32 degrees of freedom: beyond 75 with a probability of 3e-5.
        assert ((counts - 200_000 / 33) ** 2 / (200_000 / 33)).sum() < 75
    assert abs(mirrored.double().mean() - 0.5) < 0.005
    correlations = torch.corrcoef(placement.double().T)
    assert (correlations - torch.eye(3)).abs().max() < 0.01
