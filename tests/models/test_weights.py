"""How weights start, and how filters are renormalised."""

import pytest
import torch
from torch import nn

from zf_lightning.deconv import Deconvnet
from zf_lightning.errors import UserError
from zf_lightning.models import (
    ConvNet,
    check_input_scale,
    filter_rms,
    initialise,
    renormalise_filters,
)
from zf_lightning.models.initialisation import FIRST_LAYER_SCALE


def small() -> ConvNet:
    convs = {"conv1": {"maps": 32, "kernel": 5}, "conv2": {"maps": 64, "kernel": 3}}
    return ConvNet(convs, {"fc3": {"units": 200}}, classes=50, input_size=14)


def test_paper_initialisation_is_gaussian_of_one_hundredth() -> None:
    torch.manual_seed(0)
    network = small()
    initialise(network, "paper")
    weights = torch.cat([p.flatten() for n, p in network.named_parameters() if "weight" in n])
    assert weights.std().item() == pytest.approx(0.01, rel=0.01)
    assert weights.mean().item() == pytest.approx(0.0, abs=1e-4)
    assert all(not p.any() for n, p in network.named_parameters() if "bias" in n)


def test_he_initialisation_keeps_the_scale_of_activations_after_a_small_first_layer() -> None:
    torch.manual_seed(0)
    network = small()
    initialise(network, "he")
    _, maps = Deconvnet(network).with_feature_maps(torch.randn(64, 3, 14, 14), network.layers)
    for layer in ("conv1", "conv2", "fc3"):
        power = maps[layer].square().mean().item()
        assert power == pytest.approx(FIRST_LAYER_SCALE**2, rel=0.35)


def test_unknown_initialisation_is_named() -> None:
    with pytest.raises(UserError, match="xavier"):
        initialise(small(), "xavier")


@pytest.mark.parametrize(
    ("initialisation", "scale", "fits"),
    [("paper", "none", True), ("he", "std", True), ("paper", "std", False), ("he", "none", False)],
)
def test_an_initialisation_that_does_not_fit_its_input_warns(
    initialisation: str, scale: str, fits: bool
) -> None:
    assert (check_input_scale(initialisation, scale) is None) == fits


def test_filters_above_the_limit_are_scaled_to_it_and_others_untouched() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 5), nn.Linear(3, 3))
    with torch.no_grad():
        for scale, kernel in zip((0.05, 0.0999, 0.3, 7.0), network[0].weight, strict=True):
            kernel.copy_(torch.randn_like(kernel))
            kernel.mul_(scale / kernel.square().mean().sqrt())
        network[1].weight.fill_(9.0)
    before = network[0].weight.clone()
    renormalise_filters(network, 0.1)
    after = network[0].weight
    assert torch.equal(after[:2], before[:2])
    torch.testing.assert_close(filter_rms(network)["0"][2:], torch.tensor([0.1, 0.1]))
    torch.testing.assert_close(after[3] / after[3].norm(), before[3] / before[3].norm())
    assert (network[1].weight == 9.0).all()


def test_a_filter_of_zeros_stays_zero() -> None:
    network = nn.Sequential(nn.Conv2d(3, 1, 3))
    nn.init.zeros_(network[0].weight)
    renormalise_filters(network, 0.1)
    assert not network[0].weight.any()
