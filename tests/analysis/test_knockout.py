"""Knock-outs beside whole passes, and what they must be by their definition."""

import pytest
import torch
from scipy import stats
from torch import nn

from tests.analysis.networks import Branches, chain, pictures
from zf_lightning.analysis.knockout import knock_out, rank_images


def test_effects_are_those_of_whole_passes() -> None:
    network, images, maps = Branches().eval(), pictures(7), [1, 3, 4]
    found = knock_out(network, images, "inner", maps, batch_size=3, seed=2)
    with torch.no_grad():
        before = network(images).double().log_softmax(1)
        values = _inner(network, images)
        ring = torch.randperm(7, generator=torch.Generator().manual_seed(2)).tolist()
        partner = {one: ring[(place + 1) % 7] for place, one in enumerate(ring)}
        for place, number in enumerate(maps):
            for replacement, effects in found.effects.items():
                changed = values.clone()
                changed[:, number] = {
                    "zero": torch.zeros_like(values[:, number]),
                    "mean": values[:, number].mean().expand_as(values[:, number]),
                    "resample": values[[partner[n] for n in range(7)], number],
                }[replacement]
                after = _above(network, images, changed).double().log_softmax(1)
                answers = before.argmax(1, keepdim=True)
                fall = (before - after).gather(1, answers)[:, 0]
                torch.testing.assert_close(effects.fall[place], fall, atol=1e-6, rtol=1e-5)
                assert torch.equal(effects.answers[place], after.argmax(1))
                gained = (after.exp() - before.exp()).sum(0)
                torch.testing.assert_close(effects.gained[place], gained, atol=1e-6, rtol=1e-4)
    expected = values[:, maps].amax((2, 3)).double().T
    torch.testing.assert_close(found.activations, expected)


def _inner(network: Branches, images: torch.Tensor) -> torch.Tensor:
    return network.inner(_stem(network, images))


def _stem(network: Branches, images: torch.Tensor) -> torch.Tensor:
    values = torch.relu(network.norm(network.stem(images)))
    return nn.functional.max_pool2d(values, 3, 2, 1)


def _above(network: Branches, images: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
    values = (inner + _stem(network, images)).relu()
    values = torch.cat([network.wide(values).relu(), network.narrow(values).relu()], 1)
    return network.output(values.mean((2, 3)))


def test_batches_change_nothing_and_the_probability_is_kept() -> None:
    network, images = chain(), pictures(6)
    one, three = (knock_out(network, images, "4", range(5), batch_size=n) for n in (6, 2))
    assert torch.equal(one.answers, three.answers)
    for replacement, effects in one.effects.items():
        torch.testing.assert_close(effects.fall, three.effects[replacement].fall)
        assert effects.gained.sum(1).abs().max() < 1e-9


def test_units_of_a_fully_connected_layer_are_maps_too() -> None:
    found = knock_out(chain(), pictures(4), "8", [0, 7], batch_size=2)
    assert found.activations.shape == found.effects["mean"].fall.shape == (2, 4)


def test_a_dead_map_does_nothing() -> None:
    network = chain()
    nn.init.constant_(network[4].bias[2:3], -1e6)
    found = knock_out(network, pictures(4), "4", [2], batch_size=4)
    for effects in found.effects.values():
        assert not effects.fall.any() and not effects.gained.any()
        assert torch.equal(effects.answers[0], found.answers)


def test_images_are_ranked_and_the_ranks_compared() -> None:
    generator = torch.Generator().manual_seed(0)
    activations, fall = torch.randn(2, 3, 40, generator=generator)
    fall[1] = activations[1].exp()
    activations[2] = 0
    found = rank_images(activations, fall, k=9)
    for place in (0, 1):
        expected = stats.spearmanr(activations[place], fall[place]).statistic
        assert found.correlation[place].item() == pytest.approx(expected)
    assert found.correlation[1] == 1 and found.shared[1] == 1
    assert found.correlation[2].isnan()
    first, second = (
        set(values[0].tolist()) for values in (found.by_activation, found.by_relevance)
    )
    assert found.shared[0].item() == pytest.approx(len(first & second) / 9)
    assert rank_images(activations[:, :4], fall[:, :4]).shared[0] == 1
