"""zennit's DeconvNet and guided backpropagation, where they are right: a chain of ReLU modules.

It leaves the seed to its user, and differentiates through contrast normalisation.
"""

import copy

import pytest
import torch
from torch import nn

from tests.deconv.oracles import NETWORKS, small_convnet, some_images
from zf_lightning.deconv import Deconvnet, Unit

composites = pytest.importorskip("zennit.composites")


@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_zennit(name: str, rule: str) -> None:
    network, images = small_convnet(name).eval(), some_images()
    deconvnet = Deconvnet(network, method=rule, norm="jacobian")  # type: ignore[arg-type]
    composite = {"deconvnet": composites.DeconvNet, "guided": composites.GuidedBackprop}[rule]
    modules = dict(copy.deepcopy(network).named_children())
    for layer in ("conv1", "conv2", "conv3"):
        last = list(modules).index(f"{layer}_relu")
        below = nn.Sequential(*list(modules.values())[: last + 1])
        maps = deconvnet.feature_maps(images, [layer])[layer]
        at = tuple(int(n) for n in torch.unravel_index(maps[1].argmax(), maps.shape[1:]))
        pixels = images[1:2].clone().requires_grad_()
        with composite().context(below) as rectified:
            outputs = rectified(pixels)
            seed = torch.zeros_like(outputs)
            seed[(0, *at)] = outputs.detach()[(0, *at)]
            (expected,) = torch.autograd.grad(outputs, pixels, seed)
        found = deconvnet.project(images, [Unit(1, layer, *at)])
        assert found.activations.item() > 0
        torch.testing.assert_close(found.pixels[0], expected[0], rtol=1e-9, atol=1e-12)
