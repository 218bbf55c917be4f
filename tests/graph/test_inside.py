"""Layers of networks and modules that torch.fx cannot trace."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.deconv.autograd_of_network import METHODS, Changed
from tests.deconv.oracles import some_images
from zf_lightning.deconv import Deconvnet, Unit
from zf_lightning.errors import UserError
from zf_lightning.graph import Graph, TrainingCapture


class Branching(nn.Module):
    """Pads by its input's size, between two convolutions."""

    def __init__(self, channels: int = 3, after: Any = None) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 4, 3)
        self.last = nn.Linear(4, 5)
        self.never = nn.Conv2d(4, 4, 1)
        self.after = after or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        if x.shape[-1] % 2:
            x = F.pad(x, (0, 1, 0, 1))
        return self.after(self.last(F.gelu(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


def made(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return network.double().eval().requires_grad_(False)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("inside", [False, True])
def test_layers_inside_project_as_autograd_does(method: str, inside: bool) -> None:
    branching = Branching()
    network = made(nn.Sequential(branching, nn.ReLU(), nn.Conv2d(5, 2, 3)) if inside else branching)
    names = ["0.first", "0.last"] if inside else ["first", "last"]
    deconvnet, images = Deconvnet(network, method=method), some_images(2, size=9)  # type: ignore[arg-type]
    assert set(names) < set(deconvnet.layers)
    assert deconvnet.find_layers("conv")[0] == names[0]
    units = [Unit(0, names[0], 1, 2, 3), Unit(1, names[1], 4, 0, 7)]
    projected = deconvnet.project(images, units)
    pixels = images.clone().requires_grad_()
    found: list[Tensor] = []
    for name in names:
        module = network.get_submodule(name)
        module.register_forward_hook(lambda _, inputs, output: found.append(output.clone()))
    with Changed(method):
        network(pixels)
    outputs = found[0], found[1].permute(0, 3, 1, 2)
    for at, (unit, output) in enumerate(zip(units, outputs, strict=True)):
        activation = output[unit.image, unit.feature_map, unit.row, unit.column]
        (expected,) = torch.autograd.grad(
            activation, pixels, activation.detach(), retain_graph=True
        )
        torch.testing.assert_close(projected.activations[at], activation.detach())
        torch.testing.assert_close(projected.pixels[at], expected[unit.image], rtol=0, atol=1e-12)


def test_what_has_no_rule_leaves_the_layers_below_it_and_names_itself() -> None:
    class Sine(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sin(x)

    network = made(Branching(2, nn.Sequential(Sine(), nn.Linear(5, 5))))
    images = torch.randn(1, 2, 9, 9, dtype=torch.float64)
    deconvnet = Deconvnet(network)
    assert deconvnet.shapes(["first"], (9, 9)) == {"first": (4, 7, 7)}
    for layer in ("last", "first"):
        assert deconvnet.project(images, [Unit(0, layer, 1, 2, 2)]).pixels.any()
    with pytest.raises(UserError, match="sin has no backward rule"):
        deconvnet.project(images, [Unit(0, "after.1", 1, 2, 2)])
    assert deconvnet.project(images, [Unit(0, "last", 1, 2, 2)]).pixels.any()
    del network.after[0]
    with pytest.raises(UserError, match="never is never called with values of the image"):
        deconvnet.project(images, [Unit(0, "never", 1, 2, 2)])


def test_a_layer_inside_is_captured_in_training() -> None:
    network, images = made(Branching()), some_images(2, size=9)
    capturing = TrainingCapture(Graph(network), ["first"])
    capturing.start()
    network.train()(images)
    outputs = dict(capturing.outputs)
    capturing.stop()
    torch.testing.assert_close(outputs["first"], network.first(images))


def test_tracing_leaves_nothing_in_a_cache_of_the_network() -> None:
    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bias = nn.Conv2d(3, 4, 3), nn.Parameter(torch.randn(4, 1, 1))
            self.cache: dict[str, Tensor] = {}

        def forward(self, x: Tensor) -> Tensor:
            if "bias" not in self.cache:
                self.cache["bias"] = self.bias * 2
                self.last = self.conv(x)
            return self.conv(x) + self.cache["bias"]

    network, images = made(Caching()), some_images(1, size=5)
    expected = [Deconvnet(network).project(images, [Unit(0, "add", 1)]) for _ in range(2)]
    assert network.cache == {} or isinstance(network.cache["bias"], Tensor)
    assert torch.equal(expected[0].pixels, expected[1].pixels)
    assert network(images).shape == (1, 4, 3, 3)
