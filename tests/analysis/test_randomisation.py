"""Similarity of projections when weights are drawn anew, against pictures that are known."""

from typing import Any

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from tests.analysis.networks import Branches, chain
from zf_lightning.analysis import randomise_layers, strongest_units
from zf_lightning.analysis.randomisation import _drawn, _similarity
from zf_lightning.deconv import Deconvnet, Units
from zf_lightning.errors import UserError


def some_images(number: int = 5) -> Tensor:
    return torch.randn(number, 3, 31, 37, generator=torch.Generator().manual_seed(0))


def units_of(network: nn.Module, layer: str, number: int = 3) -> Units:
    return strongest_units(Deconvnet(network), some_images(), layer, number=number, seed=0)


def test_a_picture_is_like_itself_and_unlike_its_negative() -> None:
    picture = torch.randn(3, 9, 12, generator=torch.Generator().manual_seed(1))
    found = _similarity([picture] * 3, [picture * 5, -picture, torch.zeros_like(picture)])
    assert found.signed[:2].tolist() == pytest.approx([1, -1])
    assert found.absolute[:2].tolist() == pytest.approx([1, 1])
    assert found.ssim[0] == pytest.approx(1) and found.ssim[1] < -0.5
    # Where there is nothing, nothing can be compared.
    assert all(torch.isnan(values[2]) for values in (found.signed, found.absolute, found.ssim))
    means = found.means()
    assert means["units"] == 2 and means["signed"] == pytest.approx(0)


def test_of_a_single_layer_the_filters_are_compared() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 7), nn.ReLU())
    units = units_of(network, "0", number=4)
    found = randomise_layers(network, some_images(), units, seed=3)
    assert [one.layer for one in found.layers] == ["0"]
    # The projection of 1 is the filter itself.
    trained = network.get_submodule("0").weight.detach()  # type: ignore[union-attr]
    drawn = _drawn(trained, torch.Generator().manual_seed(3))
    for place, feature_map in enumerate(units.feature_maps.tolist()):
        pair = trained[feature_map].flatten(), drawn[feature_map].flatten()
        expected = spearmanr(*pair).statistic
        assert found.layers[0].independent.signed[place] == pytest.approx(expected)
        expected = spearmanr(*(values.abs() for values in pair)).statistic
        assert found.layers[0].independent.absolute[place] == pytest.approx(expected)
        other = trained[(feature_map + 2) % 4].flatten()
        expected = spearmanr(trained[feature_map].flatten(), other).statistic
        assert found.other_maps.signed[place] == pytest.approx(expected)


def test_weights_are_drawn_with_the_moments_of_the_trained_ones() -> None:
    weights = 0.3 + 2 * torch.randn(64, 32, 5, 5, generator=torch.Generator().manual_seed(0))
    drawn = _drawn(weights, torch.Generator().manual_seed(1))
    assert drawn.shape == weights.shape and drawn.dtype == weights.dtype
    assert drawn.mean().item() == pytest.approx(weights.mean().item(), abs=0.05)
    assert drawn.std().item() == pytest.approx(weights.std().item(), rel=0.01)
    assert abs(spearmanr(drawn.flatten(), weights.flatten()).statistic) < 0.02


@pytest.mark.parametrize(("network", "layer"), [(chain(), "4"), (Branches(), "wide")])
def test_from_the_unit_down_and_each_layer_alone(network: nn.Module, layer: str) -> None:
    network.train()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    units = units_of(network, layer)
    done: list[int] = []
    found = randomise_layers(network, some_images(), units, on_layer=lambda: done.append(1))
    names = [one.layer for one in found.layers]
    deconvnet = Deconvnet(network)
    assert names[0] == layer and names[-1] == deconvnet.layers[0]
    assert len(set(names)) == len(names) and len(done) == 2 * len(names)
    # Down to the first, it is alone; and every layer was put back before the next.
    first = found.layers[0]
    assert torch.equal(first.cascading.signed, first.independent.signed)
    last = found.layers[-1]
    assert not torch.equal(last.cascading.signed, last.independent.signed)
    again = randomise_layers(network, some_images(), units)
    assert torch.equal(again.layers[-1].cascading.ssim, last.cascading.ssim)
    other = randomise_layers(network, some_images(), units, seed=1)
    assert not torch.equal(other.layers[-1].cascading.signed, last.cascading.signed)
    for values in (last.cascading.signed, last.independent.absolute, found.other_maps.signed):
        assert values.isfinite().all() and (values.abs() < 1).all()
    assert all(torch.equal(v, before[n]) for n, v in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes


def test_a_fully_connected_layer_has_units_too() -> None:
    network = chain()
    found = randomise_layers(network, some_images()[:, :, :31, :31], units_of(network, "8"))
    assert [one.layer for one in found.layers] == ["8", "4", "0"]


def test_a_layer_used_twice_is_randomised_once() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(
                nn.functional.conv2d(self.conv(torch.relu(self.conv(x))), self.weight)
            )

    network = Shared()
    found = randomise_layers(network, some_images(), units_of(network, "conv2d"))
    assert [one.layer for one in found.layers] == ["weight", "conv"]


@pytest.mark.parametrize(("rule", "compared"), [("deconvnet", True), ("gradient", False)])
def test_a_unit_that_is_dead_afterwards(rule: Any, compared: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.ReLU())
    units = units_of(network, "2")
    with torch.no_grad():
        # Weights drawn like these keep their mean: nothing comes through.
        network.get_submodule("2").bias.fill_(-1e3)  # type: ignore[union-attr,operator]
    found = randomise_layers(network, some_images(), units, method=rule)
    assert bool(found.layers[-1].cascading.signed.isfinite().all()) is compared


def test_strongest_units() -> None:
    network, images = chain(), some_images()
    with torch.no_grad():
        network.get_submodule("4").bias[1] = -1e3  # type: ignore[union-attr,index,operator]
    deconvnet = Deconvnet(network, batch_size=2)
    found = strongest_units(deconvnet, images, "4", number=9, seed=0)
    maps = deconvnet.forward(images, ["4"]).outputs["4"]
    assert found.feature_maps.tolist() == [0, 2, 3, 4]
    for image, feature_map, row, column in zip(
        found.images, found.feature_maps, found.rows, found.columns, strict=True
    ):
        assert maps[image, feature_map, row, column] == maps[:, feature_map].max()
    few = strongest_units(deconvnet, images, "4", number=2, seed=0).feature_maps.tolist()
    assert len(few) == 2 and set(few) < {0, 2, 3, 4}


def test_mistakes() -> None:
    network = chain()
    with torch.no_grad():
        network.get_submodule("4").bias.fill_(-1e3)  # type: ignore[union-attr,operator]
    with pytest.raises(UserError, match="No image excites a feature map of 4"):
        units_of(network, "4")
    network = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))
    with pytest.raises(UserError, match="no weights below 1 to randomise"):
        randomise_layers(network, some_images(), units_of(network, "1"))
