"""Faithfulness: what is known of the answer, and controls that must give chance."""

import pytest
import torch
from torch import Tensor, nn

from tests.analysis.networks import Branches, chain, pictures
from zf_lightning.analysis.faithfulness import (
    STEPS,
    faithfulness,
    magnitude,
    mean_of_others,
    times_image,
    trivial_importances,
)
from zf_lightning.analysis.intervals import mean_interval
from zf_lightning.analysis.place_response import PlaceResponse
from zf_lightning.analysis.two_squares import square_pairs
from zf_lightning.deconv import Deconvnet, Units


def one_layer(maps: int = 3) -> nn.Sequential:
    """Units that are linear in the 15 by 15 pixels they see, and always active."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, maps, 15), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
        network(torch.zeros(1, 3, 31, 37))
        nn.init.constant_(network[0].bias, 100.0)
    return network


def units_of(count: int, layer: str = "0", maps: int = 3) -> Units:
    """Away from the border, of one image each."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = (torch.randint(3, 12, (count,), generator=generator) for _ in range(2))
    return Units(layer, torch.arange(count) % 3, torch.arange(count) % maps, rows, columns)


def projections(deconvnet: Deconvnet, images: Tensor, units: Units) -> Tensor:
    return deconvnet.project_windows(images, units).pixels


@pytest.mark.parametrize(
    ("network", "layer"), [(chain(), "4"), (Branches(), "narrow"), (chain(), "8")]
)
def test_a_place_responds_as_in_whole_images(network: nn.Module, layer: str) -> None:
    images, deconvnet = pictures(), Deconvnet(network)
    for row, column in [(0, 0), (3, 4)] if layer != "8" else [(0, 0)]:
        response = PlaceResponse(deconvnet, images[0], layer, row, column)
        top, left, height, width = response.window
        changed = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))
        whole = images[:1].repeat(2, 1, 1, 1)
        whole[:, :, top : top + height, left : left + width] = changed
        maps = deconvnet.feature_maps(whole, [layer])[layer]
        expected = maps if maps.dim() == 2 else maps[:, :, row, column]
        torch.testing.assert_close(response(changed), expected, rtol=1e-5, atol=1e-6)


def test_gradient_times_image_is_right_of_a_linear_unit() -> None:
    images, units = pictures(), units_of(4)
    deconvnet = Deconvnet(one_layer(), method="gradient")
    # The seed is the activation, which scales each unit's importance.
    importance = times_image(deconvnet, images, units, projections(deconvnet, images, units))
    found = faithfulness(deconvnet, images, units, {"product": importance}, pairs=20)["product"]
    assert torch.equal(found.squares, torch.ones(4).double())
    assert (found.area > 0).all()
    # Both curves begin and end with all hidden, or nothing.
    assert found.hidden.shape == (4, STEPS + 1)
    torch.testing.assert_close(found.hidden[:, 0], torch.ones(4).double())
    torch.testing.assert_close(found.shown[:, -1], torch.ones(4).double())
    torch.testing.assert_close(found.hidden[:, -1], found.shown[:, 0])


def test_squares_of_a_pair_are_as_far_from_the_centre_and_inside() -> None:
    deconvnet = Deconvnet(chain())
    response = PlaceResponse(deconvnet, pictures(1)[0], "4", 0, 4)
    assert response.window != response.tile  # At the border.
    pairs, side = square_pairs(response, 30, torch.Generator().manual_seed(0))
    assert len(pairs) and (pairs >= 0).all()
    assert (pairs[..., 0] + side <= response.window.height).all()
    begin = torch.tensor(
        [response.window.top - response.tile.top, response.window.left - response.tile.left]
    )
    middle = torch.tensor([response.tile.height, response.tile.width]) / 2
    distance = (pairs + begin + side / 2 - middle).norm(dim=2)
    torch.testing.assert_close(distance[:, 0], distance[:, 1])


def test_controls_give_chance() -> None:
    """A blob, another network's projections, and shuffled ones, of a unit with known truth."""
    # A map for each unit: those of one map are not independent.
    images, units = pictures(), units_of(24, maps=24)
    deconvnet = Deconvnet(one_layer(24), method="gradient")
    other = one_layer(24)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        nn.init.normal_(other[0].weight)
    true = projections(deconvnet, images, units)
    order = torch.randperm(225, generator=torch.Generator().manual_seed(2))
    shuffled = true.flatten(2)[..., order].view_as(true)
    randomised = projections(Deconvnet(other, method="gradient"), images, units)
    importances = {
        "randomised": times_image(deconvnet, images, units, randomised),
        "shuffled": times_image(deconvnet, images, units, shuffled),
        **trivial_importances(deconvnet, images, units),
    }
    found = faithfulness(deconvnet, images, units, importances, pairs=8)
    for name in ("randomised", "shuffled", "chance"):
        for test, chance in (("squares", 0.5), ("beyond_others", 0.5), ("area", 0)):
            # 95 % for all nine together.
            values = getattr(found[name], test).tolist()
            assert mean_interval(values, level=1 - 0.05 / 9).contains(chance), (name, test)
    assert (found["centred blob"].squares == 0.5).all()
    assert (found["centred blob"].beyond_others == 0.5).all()


def test_where_other_units_look_is_a_control_where_that_is_not_the_middle() -> None:
    """Of units that see only a corner a blob in the middle says nothing, the others say all."""
    network = one_layer(8)
    weights = network[0].weight.data.abs_()
    weights[:, :, 7:] = 0
    weights[:, :, :, 7:] = 0
    images, units = pictures().abs() + 1, units_of(8, maps=8)
    deconvnet = Deconvnet(network, method="gradient")
    importances = magnitude(projections(deconvnet, images, units))
    place = mean_of_others(importances)
    torch.testing.assert_close(place.sum((1, 2)), torch.ones(8))
    assert not torch.equal(place[0], place[1])  # Each without its own.
    blob = trivial_importances(deconvnet, images, units)["centred blob"]
    found = faithfulness(deconvnet, images, units, {"place": place, "blob": blob}, pairs=20)
    assert (found["place"].squares > 0.9).all() and (found["blob"].squares == 0.5).all()


def test_importances_in_small() -> None:
    images, units = pictures(), units_of(2)
    deconvnet = Deconvnet(one_layer())
    values = projections(deconvnet, images, units)
    torch.testing.assert_close(magnitude(values)[1, 2, 3], values[1, :, 2, 3].abs().sum())
    row, column = int(units.rows[1]) + 2, int(units.columns[1]) + 3
    expected = (values[1, :, 2, 3] * images[1, :, row, column]).sum()
    product = times_image(deconvnet, images, units, values)
    torch.testing.assert_close(product[1, 2, 3], expected)
    variance = trivial_importances(deconvnet, torch.ones_like(images), units)["image variance"]
    assert variance.abs().max() < 1e-9


def test_intervals() -> None:
    assert mean_interval([0.5] * 5) == (0.5, 0.5, 0.5)
    found = mean_interval([0.0, 1.0, float("nan")] * 20)
    assert found.mean == 0.5 and 0.3 < found.low < 0.5 < found.high < 0.7
    assert mean_interval([0.0, 1.0] * 20) == found
    assert str(found).startswith("0.50 [0.3")
    alone = mean_interval([0.3])
    assert alone.mean == 0.3 and alone.low != alone.low
