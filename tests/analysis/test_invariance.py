"""Transformations move pictures as their names say; distances and probabilities by hand."""

import pytest
import torch
from torch import Tensor, nn

from tests.analysis.networks import chain
from zf_lightning.analysis import ObservedNetwork, invariance, transformed
from zf_lightning.errors import UserError


def picture() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, 32, 32), generator=generator, dtype=torch.uint8)


def prepare(pictures: Tensor) -> Tensor:
    return (pictures[..., 2:30, 2:30] - 128) / 60


def test_a_picture_moves_down_and_grey_comes_in() -> None:
    moved = transformed(picture(), "vertical translation", 5, grey=9)
    assert torch.equal(moved[:, :, 5:], picture()[:, :, :-5].float())
    assert (moved[:, :, :5] == 9).all()
    up = transformed(picture(), "vertical translation", -5, grey=9)
    assert torch.equal(up[:, :, :-5], picture()[:, :, 5:].float())
    assert (transformed(picture(), "vertical translation", 40, grey=9) == 9).all()
    half = transformed(picture(), "vertical translation", 0.5)
    between = (picture()[:, :, :-1].float() + picture()[:, :, 1:]) / 2
    torch.testing.assert_close(half[:, :, 1:], between, atol=1e-2, rtol=1e-4)


def test_a_picture_turns_clockwise_about_its_centre() -> None:
    turned = transformed(picture(), "rotation", 90)
    torch.testing.assert_close(turned, picture().float().rot90(-1, (2, 3)), atol=1e-2, rtol=1e-4)
    torch.testing.assert_close(
        transformed(picture(), "rotation", 180), picture().float().flip(2, 3), atol=1e-2, rtol=1e-4
    )


def test_a_picture_grows_from_its_centre() -> None:
    blocks = picture()[:, :, 8:24, 8:24].float()
    grown = transformed(picture(), "scale", 2.0)
    # Each pixel becomes four, blended with its neighbours: means of 2 by 2 stay near.
    means = nn.functional.avg_pool2d(grown, 2)[:, :, 1:-1, 1:-1]
    blended = nn.functional.avg_pool2d(
        nn.functional.interpolate(blocks, scale_factor=2, mode="bilinear"), 2
    )[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(means, blended, atol=1e-2, rtol=1e-4)


def test_distances_and_probabilities_are_those_of_whole_passes() -> None:
    network = chain().eval()
    values = {"vertical translation": (0.0, 4.0), "scale": (1.0, 1.5), "rotation": (0.0, 30.0)}
    found = invariance(network, picture(), [1, 3], values, prepare=prepare, batch_size=1)
    assert [one.transformation for one in found] == list(values)
    observed = ObservedNetwork(network)
    _, before = observed.features(prepare(picture().float()), ["0", "8"])
    for one in found:
        assert list(one.distances) == ["0", "8"]
        changed = transformed(picture(), one.transformation, one.values[1])
        scores, after = observed.features(prepare(changed), ["0", "8"])
        for layer, distances in one.distances.items():
            assert (distances[0] == 0).all()
            expected = (after[layer] - before[layer]).square().sum(1).sqrt()
            torch.testing.assert_close(distances[1], expected, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(one.norms[layer], before[layer].square().sum(1).sqrt())
        torch.testing.assert_close(one.probabilities[1], scores.softmax(1)[[0, 1], [1, 3]])


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="sheared is not one of"):
        transformed(picture(), "sheared", 1.0)
    with pytest.raises(UserError, match="above 0"):
        transformed(picture(), "scale", 0.0)
    with pytest.raises(UserError, match="2 pictures, but 1 labels"):
        invariance(chain(), picture(), [1], {}, prepare=prepare)
    with pytest.raises(UserError, match="4 classes"):
        invariance(chain(), picture(), [1, 7], {}, prepare=prepare)
