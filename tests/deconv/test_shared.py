"""One forward pass of an image, shared by the crops of its units."""

from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from tests.deconv.oracles import small_convnet, some_images
from tests.deconv.test_crops import units_of
from zf_lightning.deconv import Deconvnet, Units, projection
from zf_lightning.deconv.backward import MethodName
from zf_lightning.deconv.crops import CropPlan
from zf_lightning.deconv.shared import CropUnits, SharedPass, sharing_is_less_work


class Gated(nn.Module):
    """A convolution, and above it one that is multiplied with a gate of single positions."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.above = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.inner, self.gate = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.last = nn.Conv2d(4, 5, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        found = torch.relu(self.below(images))
        gate = torch.sigmoid(self.gate(torch.sigmoid(self.inner(found))))
        pooled = nn.functional.max_pool2d(self.above(found) * gate, 2)
        return torch.relu(self.last(pooled))


class Squeezed(nn.Module):
    """A convolution whose maps are multiplied with one gate each, and one of single positions."""

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.below, self.above = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, 2, 1)
        self.inner, self.outer, self.gate = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1), gate

    def forward(self, images: Tensor) -> Tensor:
        found = nn.functional.silu(self.below(images))
        squeezed = torch.relu(self.inner(found.mean((2, 3), keepdim=True)))
        return torch.relu(self.above(found * self.gate(self.outer(squeezed))))


def plan_of(deconvnet: Deconvnet, layer: str, size: int) -> CropPlan:
    plan = deconvnet.crop_plan(layer, (3, size, size))
    assert plan is not None
    return plan


@pytest.mark.parametrize("method", ["deconvnet", "guided", "gradient"])
def test_layers_with_and_without_gates_share_a_pass(method: MethodName) -> None:
    torch.manual_seed(0)
    network, images = Gated().double(), some_images(2, size=16)
    whole = Deconvnet(network, crops=False, method=method)
    outputs = whole.forward(images, ["last", "below"]).outputs
    groups = [units_of(layer, outputs[layer], each=2) for layer in outputs]
    crops = Deconvnet(network, crops=True, method=method)
    every = torch.ones(2, dtype=torch.bool)
    with patch.object(projection, "sharing_is_less_work", return_value=every):
        found = crops.project_layers(images, groups)
    for one, expected in zip(found, whole.project_layers(images, groups), strict=True):
        assert expected.pixels.any()
        torch.testing.assert_close(one.pixels, expected.pixels)
        torch.testing.assert_close(one.activations, expected.activations)


@pytest.mark.parametrize("method", ["deconvnet", "guided"])
@pytest.mark.parametrize("gate", [nn.Sigmoid(), nn.Hardsigmoid(), nn.Softmax(1)])
def test_gates_of_whole_maps_are_those_of_the_image(gate: nn.Module, method: MethodName) -> None:
    torch.manual_seed(0)
    network, images = Squeezed(gate).double(), some_images(3, size=16)
    whole = Deconvnet(network, crops=False, method=method)
    units = units_of("above", whole.forward(images, ["above"]).outputs["above"])
    crops = Deconvnet(network, crops=True, method=method)
    plan = crops._geometries.of(["above"], (3, 16, 16))["above"].plan
    assert plan is not None and len(plan.constants) == 1
    # What computes units anew, as with a part of the image hidden, has to compute the gate anew.
    assert crops.crop_plan("above", (3, 16, 16)) is None
    found, expected = crops.project(images, units), whole.project(images, units)
    assert expected.pixels.any()
    torch.testing.assert_close(found.pixels, expected.pixels)
    torch.testing.assert_close(found.activations, expected.activations)
    tiles, same = crops.project_windows(images, units), whole.project_windows(images, units)
    torch.testing.assert_close(tiles.pixels, same.pixels)


def test_the_gradient_holds_no_gate() -> None:
    network = Squeezed(nn.Sigmoid()).double()
    geometries = Deconvnet(network, method="gradient")._geometries.of(["above"], (3, 16, 16))
    assert geometries["above"].plan is None


def test_only_what_is_looked_at_is_kept() -> None:
    network, images = small_convnet("alexnet_like").eval(), some_images(1)
    kept = {}
    for method in ("deconvnet", "gradient"):
        deconvnet = Deconvnet(network, method=method)
        plan = plan_of(deconvnet, "conv3", images.shape[-1])
        graph = deconvnet.graph
        passed = SharedPass(graph, deconvnet.operations, images, torch.tensor([0]), [plan])
        kept[method] = {node.name for node in passed._maps}
    # The gradient asks where each ReLU was positive, and both for the switches of max pooling.
    assert kept["deconvnet"] == {plan.node.name}
    rectifiers = {node.name for node in plan.nodes if "relu" in node.name}
    assert kept["gradient"] == {*rectifiers, plan.node.name}
    assert plan.pooled and passed._switches.keys() == plan.pooled.keys()


def test_an_image_is_run_whole_if_its_crops_are_more() -> None:
    deconvnet = Deconvnet(small_convnet("alexnet_like").eval())
    plans = {layer: plan_of(deconvnet, layer, 41) for layer in ("conv1", "conv3")}

    def of(layer: str, images: list[int]) -> CropUnits:
        zeros = torch.zeros(len(images), dtype=torch.int64)
        units = Units(layer, torch.tensor(images), zeros, zeros, zeros)
        return CropUnits(0, units, torch.arange(len(images)), plans[layer])

    enough = int(1 / plans["conv3"].share) + 1
    few, many = of("conv3", [0, *[2] * enough]), of("conv1", [1])
    assert sharing_is_less_work([few, many], 4).tolist() == [False, False, True, False]
    # Each layer's crops count, the whole pass once.
    less = of("conv3", [2] * (enough - 1))
    others = of("conv1", [2] * int(plans["conv1"].values))
    assert not sharing_is_less_work([less], 4).any()
    assert sharing_is_less_work([less, others], 4).tolist() == [False, False, True, False]
