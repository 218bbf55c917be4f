"""Random small networks, every method, whole and in crops, against autograd."""

import random

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings

from tests.deconv.random_networks import Program, RandomNetwork, by_autograd, layers, programs
from zf_lightning.deconv import Deconvnet, Unit

COMMON = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
METHODS = ("gradient", "deconvnet", "guided")


def check(program: Program, *, layers_asked: int, units_each: int) -> None:
    """Some units of some layers equal autograd's to 1e-9 of the largest value."""
    generator = random.Random(program.seed)
    network = RandomNetwork(program)
    images = program.drawn(0, 2, program.channels, *program.size, most=9)
    named = layers(program)
    if not named:
        return
    asked = generator.sample(sorted(named), min(layers_asked, len(named)))
    for method in METHODS:
        pixels = images.clone().requires_grad_()
        values = by_autograd(program, pixels, method)
        # Dilated pooling may see padding only, which is minus infinity.
        assume(all(value.isfinite().all() for value in values))
        torch.testing.assert_close(network(images.clone()), values[-1].detach(), rtol=1e-9, atol=0)
        units, activations, projections = [], [], []
        for layer in asked:
            value = values[named[layer]]
            for _ in range(units_each):
                image, *at = (generator.randrange(size) for size in value.shape)
                units.append(Unit(image, layer, *at))
                seed = torch.zeros_like(value)
                seed[(image, *at)] = value.detach()[(image, *at)]
                activations.append(seed[(image, *at)])
                (projection,) = torch.autograd.grad(value, pixels, seed, retain_graph=True)
                projections.append(projection[image])
        deconvnet = Deconvnet(network, method=method)
        for crops in (True, False):
            deconvnet.crops = crops
            found = deconvnet.project(images.clone(), units)
            for ours, expected in (
                (found.activations, torch.stack(activations)),
                (found.pixels, torch.stack(projections)),
            ):
                scale = max(1.0, expected.abs().max().item())
                torch.testing.assert_close(ours, expected, rtol=0, atol=1e-9 * scale)


@settings(COMMON, max_examples=200)
@given(programs())
def test_random_networks(program: Program) -> None:
    check(program, layers_asked=1, units_each=2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(COMMON, max_examples=2000)
@given(programs())
def test_many_random_networks(program: Program) -> None:
    check(program, layers_asked=2, units_each=3)
