"""The strongest maps of an image and a hidden square, beside direct computation."""

import pytest
import torch
from torch import Tensor

from tests.networks import skipping
from zf_lightning.analysis.exploration import probabilities_without, strongest_maps
from zf_lightning.deconv import Deconvnet, Unit


@pytest.fixture
def image() -> Tensor:
    return torch.rand(1, 3, 48, 48, generator=torch.manual_seed(1)).double() * 4 - 2


@pytest.mark.parametrize("layer", ["stem", "block", "last", "head"])
def test_the_strongest_maps_are_those_with_the_largest_activations(
    layer: str, image: Tensor
) -> None:
    deconvnet = Deconvnet(skipping().eval())
    display = torch.randint(0, 256, (3, 48, 48), dtype=torch.uint8)
    maps = deconvnet.feature_maps(image, [layer])[layer][0]
    expected = sorted(
        ((float(one.max()), number) for number, one in enumerate(maps) if one.max() > 0),
        reverse=True,
    )[:3]
    found = strongest_maps(deconvnet, image, display, layer, k=3)
    assert found.units.feature_maps.tolist() == [number for _, number in expected]
    assert found.activations.tolist() == pytest.approx([value for value, _ in expected])
    field = deconvnet.receptive_fields([layer], (48, 48))[layer]
    for place, (value, number) in enumerate(expected):
        row, column = int(found.units.rows[place]), int(found.units.columns[place])
        assert float(maps[number].reshape(-1, 1).max()) == pytest.approx(value)
        if maps.dim() == 3:
            assert float(maps[number, row, column]) == pytest.approx(value)
        top, left, high, wide = field.clipped_window(row, column)
        whole = deconvnet.project(image, [Unit(0, layer, number, row, column)]).pixels[0]
        inside = found.inside[place]
        assert inside.sum() == high * wide
        seen = (slice(top, top + high), slice(left, left + wide))
        pixels = found.projections[place][:, inside].reshape(3, high, wide)
        torch.testing.assert_close(pixels, whole[:, *seen].float())
        patch = found.patches[place][:, inside].reshape(3, high, wide)
        assert torch.equal(patch, display[:, *seen])


def test_an_image_that_excites_nothing_has_no_strongest_maps() -> None:
    network = skipping().eval()
    torch.nn.init.constant_(network.norm.bias, -100.0)
    black = torch.zeros(1, 3, 48, 48).double()
    found = strongest_maps(Deconvnet(network), black, torch.zeros(3, 48, 48).byte(), "stem", k=3)
    assert len(found.units) == len(found.patches) == len(found.inside) == 0


def test_a_hidden_square_changes_the_probabilities_as_in_a_picture_with_it(image: Tensor) -> None:
    network = skipping().eval()
    painted = image.clone()
    painted[:, :, 7:17, 41:] = 0.25
    with torch.no_grad():
        expected, plain = network(painted)[0].softmax(0), network(image)[0].softmax(0)
    found = probabilities_without(network, image, (12, 46), 10, 0.25)
    torch.testing.assert_close(found, expected)
    assert float(found.sum()) == pytest.approx(1) and not torch.equal(found, plain)
    torch.testing.assert_close(probabilities_without(network, image, (12, 46), 0, 0.25), plain)
