"""Filters whose spectrum, size and effect are known."""

import math

import pytest
import torch
from torch import nn

from tests.analysis.networks import chain, pictures
from zf_lightning.analysis import first_layer, frequency_content, images_that_excite
from zf_lightning.analysis.filters import dominance, renormalised, white_noise
from zf_lightning.errors import UserError


def grating(frequency: float, *, horizontal: bool = True, size: int = 32) -> torch.Tensor:
    waves = torch.cos(2 * math.pi * frequency * torch.arange(size))
    waves = waves.expand(size, size) if horizontal else waves[:, None].expand(size, size)
    return waves.expand(1, 3, size, size)


@pytest.mark.parametrize(("frequency", "band"), [(0.05, "low"), (0.18, "mid"), (0.4, "high")])
@pytest.mark.parametrize("horizontal", [True, False])
def test_a_grating_lies_in_its_band(frequency: float, band: str, horizontal: bool) -> None:
    content = frequency_content(grating(frequency, horizontal=horizontal), (2, 2))
    assert float(content.bands[band][0]) > 0.9
    assert float(sum(share[0] for share in content.bands.values())) == pytest.approx(1)
    ring = content.frequencies[content.radial.argmax()]
    assert abs(float(ring) - frequency) <= 0.5 / len(content.radial)


def test_a_stride_folds_what_it_cannot_carry() -> None:
    for stride, folded in ((1, False), (2, False), (4, True)):
        content = frequency_content(grating(0.2), (stride, stride))
        assert float(content.aliased[0]) == pytest.approx(float(folded), abs=0.1)
    # Only along the axis on which the stride is too large.
    content = frequency_content(grating(0.2), (4, 1))
    assert float(content.aliased[0]) < 0.1


def test_white_noise_is_the_area_of_a_band() -> None:
    shares = white_noise((2, 2))
    assert shares["low"] == pytest.approx(math.pi / 64, rel=0.05)
    assert shares["mid"] == pytest.approx(3 * math.pi / 64, rel=0.05)
    assert shares["aliased"] == pytest.approx(0.75, rel=0.05)
    assert shares["low"] + shares["mid"] + shares["high"] == pytest.approx(1)
    noise = torch.randn(400, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    content = frequency_content(noise, (2, 2))
    assert float(content.bands["mid"].mean()) == pytest.approx(shares["mid"], rel=0.05)


def test_a_filter_of_zeros_has_no_content() -> None:
    content = frequency_content(torch.zeros(2, 3, 7, 7), (2, 2))
    assert float(sum(share.sum() for share in content.bands.values())) == 0


def test_sizes_of_filters() -> None:
    network = chain()
    first = first_layer(network)
    assert (first.name, first.stride) == ("0", (2, 2))
    weights = network[0].weight.detach()
    torch.testing.assert_close(first.rms, weights.flatten(1).square().mean(1).sqrt())
    limit = float(first.rms.median())
    scaled = renormalised(first.weights, limit)
    rms = scaled.flatten(1).square().mean(1).sqrt()
    torch.testing.assert_close(rms, first.rms.clamp(max=limit))
    below = first.rms < limit
    assert torch.equal(scaled[below], first.weights[below])
    assert dominance(torch.tensor([1.0, 1.0, 1.0, 5.0, 0.5])) == 5


def test_dead_feature_maps_are_those_that_no_image_excites() -> None:
    network = chain().eval()
    with torch.no_grad():
        network[0].bias[2] = -100
        network[8].bias[5] = -100
    images = pictures(5)
    counts, number = images_that_excite(network, images.split(2), ["0", "8"])
    assert number == 5
    assert counts["0"][2] == 0 and counts["8"][5] == 0
    with torch.no_grad():
        outputs = network[:2](images)
    assert torch.equal(counts["0"], (outputs.amax((2, 3)) > 0).sum(0))


def test_a_network_that_does_not_begin_with_a_convolution_is_refused() -> None:
    with pytest.raises(UserError, match="does not begin with a convolution"):
        first_layer(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)))
