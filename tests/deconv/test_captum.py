"""Captum's deconvolution, where it is right: a chain of ReLU modules, each its own, not in place.

It seeds with 1 instead of the activation, and differentiates through contrast normalisation.
"""

import copy

import pytest
import torch
from torch import nn

from tests.deconv.oracles import NETWORKS, small_convnet, some_images
from zf_lightning.deconv import Deconvnet, Unit

captum_attr = pytest.importorskip("captum.attr")
pytestmark = pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU activations")


@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_captum(name: str, rule: str) -> None:
    network, images = small_convnet(name), some_images()
    deconvnet = Deconvnet(network, method=rule, norm="jacobian")  # type: ignore[arg-type]
    theirs = copy.deepcopy(network).eval()
    for module in theirs.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    kind = {"deconvnet": "NeuronDeconvolution", "guided": "NeuronGuidedBackprop"}[rule]
    for layer in ("conv1", "conv2", "conv3"):
        maps = deconvnet.forward(images, [layer]).outputs[layer]
        feature_map, row, column = torch.unravel_index(maps[1].argmax(), maps.shape[1:])
        at = (int(feature_map), int(row), int(column))
        attribution = getattr(captum_attr, kind)(theirs, theirs.get_submodule(f"{layer}_relu"))
        expected = attribution.attribute(images[1:2].clone().requires_grad_(), neuron_selector=at)
        found = deconvnet.project(images, [Unit(1, layer, *at)])
        assert found.activations.item() > 0
        unit_seed = found.pixels[0] / found.activations[0]
        torch.testing.assert_close(unit_seed, expected[0].detach(), rtol=1e-9, atol=1e-12)
