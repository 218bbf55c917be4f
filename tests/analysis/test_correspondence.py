"""Delta of Table 1 by hand, and on networks for which it is known."""

import pytest
import torch
from torch import Tensor, nn

from tests.analysis.networks import chain, pictures
from zf_lightning.analysis import Consistency, below_random, correspondence
from zf_lightning.analysis.correspondence import sign_distances
from zf_lightning.errors import UserError


def test_signs_are_three_valued_and_averaged_over_dimensions() -> None:
    differences = torch.tensor([[1.0, -2.0, 0.0, 0.0], [3.0, 2.0, 0.0, -1.0]])
    assert sign_distances(differences).tolist() == [[0.0, 0.5], [0.5, 0.0]]


def test_only_what_changes_in_both_is_compared_if_asked_for() -> None:
    differences = torch.tensor([[1.0, -2.0, 0.0, 5.0], [3.0, 2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    found = sign_distances(differences, changed_only=True)
    assert found[0, 1] == found[1, 0] == 0.5
    assert found.diagonal().tolist() == [0, 0, 0]
    assert found[0, 2].isnan()
    consistency = Consistency(found[None])
    assert consistency.delta == 0.5 and consistency.spread == 0
    assert below_random(consistency, consistency)[0] == 0


def test_unrelated_changes_are_at_a_half_however_few_they_are() -> None:
    generator = torch.Generator().manual_seed(0)
    for share in (0.1, 0.9):
        differences = torch.randn(20, 5000, generator=generator)
        differences *= torch.rand(20, 5000, generator=generator) < share
        found = Consistency(sign_distances(differences, changed_only=True)[None])
        assert found.delta == pytest.approx(0.5, abs=0.02)


def test_delta_is_the_mean_over_pairs_and_the_spread_their_deviation() -> None:
    one = torch.tensor([[0.0, 0.2, 0.4], [0.2, 0.0, 0.9], [0.4, 0.9, 0.0]]).double()
    consistency = Consistency(one[None])
    assert consistency.delta == pytest.approx(0.5)
    assert consistency.spread == pytest.approx((0.26 / 3) ** 0.5)
    assert Consistency(torch.stack([one, 2 * one])).of_draws == pytest.approx([0.5, 1.0])


def ramp_network() -> nn.Sequential:
    """Two features: the brightness of the upper and of the lower half."""
    network = nn.Sequential(nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten(), nn.Linear(6, 2))
    with torch.no_grad():
        network[2].weight.copy_(torch.tensor([[1.0, 0, 1, 0, 1, 0], [0.0, 1, 0, 1, 0, 1]]))
        network[2].bias.zero_()
    return nn.Sequential(*network, nn.Linear(2, 2))


def test_the_same_part_changes_all_alike_and_another_place_does_not() -> None:
    images = torch.ones(6, 3, 20, 20)
    upper = torch.tensor([[5.0, 5.0]] * 6)
    mixed = torch.tensor([[5.0, 5.0], [15.0, 5.0]] * 3)
    found = correspondence(
        ramp_network(), images, {"upper": upper, "mixed": mixed}, layers=["2"], size=4, draws=20
    )
    assert found.parts["2"]["upper"].delta == 0
    # Of 15 pairs 9 differ, in both features: one image changes the one, its partner the other.
    assert found.parts["2"]["mixed"].delta == pytest.approx(9 / 15)
    assert 0.3 < found.random["2"].delta < 0.7
    difference, low, high = below_random(found.parts["2"]["upper"], found.random["2"])
    assert 0 < low <= difference <= high


def test_masks_stand_where_they_should() -> None:
    seen: list[Tensor] = []

    class Recorder(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images)
            return images

    network = nn.Sequential(Recorder(), *chain())
    images = pictures(2)
    centres = torch.tensor([[10.5, 20.5], [0.5, 36.0]])
    # A leaf of the graph, so that it is called with what goes through the network.
    Recorder.__module__ = "torch.nn.modules.recorder"
    found = correspondence(
        network, images, {"eye": centres}, layers=["1"], size=5, fill=7.0, draws=3
    )
    assert found.starts["eye"].tolist() == [[8, 18], [-2, 34]]
    hidden = (seen[1] == 7).all(1)
    assert hidden[0].nonzero().amin(0).tolist() == [8, 18]
    assert hidden[0].sum() == 25 and hidden[1].sum() == 9
    assert torch.equal(seen[1][:, 0][~hidden], images[:, 0][~hidden])
    first = (seen[2] == 7).all(1)
    assert (first.flatten(1).sum(1) == 25).all(), "a random square lies in the image"
    assert first[1].nonzero().amin(0).tolist() == found.random_starts[1].tolist()


def test_random_places_are_a_function_of_the_seed() -> None:
    images, parts = pictures(4), {"eye": torch.tensor([[9.0, 9.0]] * 4)}
    once, again, other = (
        correspondence(chain(), images, parts, size=5, draws=2, seed=seed) for seed in (0, 0, 1)
    )
    assert list(once.random) == ["4", "8"]
    assert torch.equal(once.random["4"].distances, again.random["4"].distances)
    assert not torch.equal(once.random["4"].distances, other.random["4"].distances)


@pytest.mark.parametrize(
    ("images", "centre", "options", "words"),
    [
        (1, (9.0, 9.0), {}, "at least two"),
        (2, (9.0, 37.0), {}, "eye of image 0 lies outside"),
        (2, (9.0, 9.0), {"draws": 0}, "draws is 0"),
        (2, (9.0, 9.0), {"size": 50}, "larger than the image"),
        (2, (9.0, 9.0), {"layers": ["conv9"]}, "no layer conv9"),
    ],
)
def test_mistakes_are_named(images: int, centre: tuple, options: dict, words: str) -> None:
    parts = {"eye": torch.tensor([centre] * images)}
    with pytest.raises(UserError, match=words):
        correspondence(chain(), pictures(images), parts, **{"size": 5, **options})
