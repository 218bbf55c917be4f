"""What is projected is the network that runs: hooks, weights made on the fly, odd paddings."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from tests.deconv.oracles import chain, every_unit, some_images
from zf_lightning.deconv import Deconvnet, Unit
from zf_lightning.errors import UserError


def assert_as_it_runs(network: nn.Module, images: Tensor, layer: str = "3") -> None:
    """Gradients of all units, in crops and in whole images, are those of the network's own pass."""
    network.eval()
    pixels = images.clone().requires_grad_()
    output = network(pixels)
    units = every_unit(layer, tuple(output.shape[1:]))
    expected = torch.stack(
        [
            torch.autograd.grad(value, pixels, retain_graph=True)[0][0] * value.detach()
            for value in output[0].flatten()
        ]
    )
    for crops in (True, False):
        found = Deconvnet(network, method="gradient", crops=crops).project(images, units)
        torch.testing.assert_close(found.activations, output.detach().flatten())
        torch.testing.assert_close(found.pixels, expected)


@pytest.mark.parametrize("size", [1, 4, (2, 4), (None, 4), 8, 16, 5])
def test_adaptive_max_pooling(size: Any) -> None:
    assert_as_it_runs(chain(nn.AdaptiveMaxPool2d(size)), some_images(1, size=8))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_channels(channels: int) -> None:
    network = chain(channels=channels)
    images = torch.randn(1, channels, 8, 8, dtype=torch.float64)
    assert_as_it_runs(network, images)
    deconvnet = Deconvnet(network)
    assert deconvnet.shapes(["3"], (8, 8)) == {"3": (4, 8, 8)}
    assert deconvnet.receptive_fields(["3"], (8, 8))["3"].size == (5, 5)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_head_of_two_classes_in_training_mode_with_frozen_weights(frozen: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        *chain(nn.Dropout(0.9)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    ).double()
    images = some_images(1, size=7)
    pixels = images.clone().requires_grad_()
    logits = network.eval()(pixels)
    network.train().requires_grad_(not frozen)
    for unit in (0, 1):
        (expected,) = torch.autograd.grad(
            logits[0, unit], pixels, logits[0, unit].detach(), retain_graph=True
        )
        found = Deconvnet(network, method="gradient").project(images, [Unit(0, "7", unit)])
        torch.testing.assert_close(found.pixels, expected)
    assert network.training and all(w.grad is None for w in network.parameters())


@pytest.mark.parametrize("padding", [2, 3, 4])
def test_units_that_see_nothing_but_padding(padding: int) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=padding), nn.ReLU()).double()
    assert_as_it_runs(network, some_images(1, size=6), "0")


HOOKS: dict[str, Callable[[nn.Module], Any]] = {
    "scales": lambda m: m.register_forward_hook(lambda module, inputs, output: 2 * output),
    "ablates": lambda m: m.register_forward_hook(
        lambda module, inputs, output: output * torch.tensor([1.0, 0, 1, 1, 0])[:, None, None]
    ),
    "shifts": lambda m: m.register_forward_pre_hook(lambda module, inputs: (inputs[0] - 0.5,)),
    "reads": lambda m: m.register_forward_hook(lambda module, inputs, output: None),
}


@pytest.mark.parametrize("hook", HOOKS)
def test_hooks_that_change_values(hook: str) -> None:
    network = chain()
    HOOKS[hook](network[0])
    assert_as_it_runs(network, some_images(1, size=7))


MADE_WEIGHTS: dict[str, Callable[[nn.Module], Any]] = {
    "weight_norm": parametrizations.weight_norm,
    "old weight_norm": nn.utils.weight_norm,
    "old spectral_norm": nn.utils.spectral_norm,
    "prune": lambda module: prune.l1_unstructured(module, "weight", amount=0.5),
}


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("kind", MADE_WEIGHTS)
def test_weights_that_are_made_for_each_pass(kind: str) -> None:
    network, images = chain(), some_images(1, size=7)
    MADE_WEIGHTS[kind](network[0])
    Deconvnet(network).project(images, every_unit("3", (1, 1, 1)))
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(1.5)
    assert_as_it_runs(network, images)


class Circular(nn.Conv2d):
    """Pads in another way than it says."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(F.pad(input, (1, 1, 1, 1), "circular"), weight, bias)


class AlwaysDropping(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return F.dropout(values)


def test_a_convolution_that_pads_in_another_way() -> None:
    network = chain(Circular(5, 5, 3, padding=1))
    assert_as_it_runs(network, some_images(1, size=7))


def test_what_cannot_be_followed_is_refused() -> None:
    with pytest.raises(UserError, match="dropout that is always on"):
        network = chain(AlwaysDropping())
        Deconvnet(network).project(some_images(1, size=7), every_unit("3", (1, 1, 1)))


class WithFlags(nn.Module):
    """Has options besides the image, on which the way depends."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = chain()

    def forward(self, images: Tensor, doubled: bool = True, scale: float | None = None) -> Tensor:
        values: Tensor = self.inner(images)
        return values * 2 if doubled and scale is None else values


def test_options_of_a_forward_pass_keep_their_defaults() -> None:
    network = WithFlags()
    images = some_images(1, size=7)
    found = Deconvnet(network).feature_maps(images, ["mul"])["mul"]
    torch.testing.assert_close(found, network(images))
    units = every_unit("inner.3", (4, 7, 7))
    expected = Deconvnet(network.inner).project(images, every_unit("3", (4, 7, 7)))
    torch.testing.assert_close(Deconvnet(network).project(images, units).pixels, expected.pixels)


def test_inference_mode() -> None:
    network, images, units = chain(), some_images(1, size=7), every_unit("3", (4, 7, 7))
    expected = Deconvnet(network).project(images, units)
    for crops in (True, False):
        with torch.inference_mode():
            found = Deconvnet(network, crops=crops).project(images * 1, units)
        torch.testing.assert_close(found.pixels, expected.pixels)


def nested() -> nn.Sequential:
    """`chain` in two containers."""
    modules = [*chain()]
    return nn.Sequential(nn.Sequential(*modules[:3]), nn.Sequential(*modules[3:])).double()


def replace_forward(module: nn.Module) -> None:
    whole = type(module).forward
    module.forward = lambda values: whole(module, 1.5 * values)


CONTAINER_HOOKS: dict[str, tuple[str, Callable[[nn.Module], Any]]] = {
    "container scales": ("0", HOOKS["scales"]),
    "container ablates": ("0", HOOKS["ablates"]),
    "container shifts": ("1", HOOKS["shifts"]),
    "container reads": ("0", HOOKS["reads"]),
    "container uses its input": (
        "0",
        lambda m: m.register_forward_hook(lambda _, inputs, output: output + inputs[0][:, :1]),
    ),
    "with keywords": (
        "1",
        lambda m: m.register_forward_pre_hook(
            lambda module, inputs, options: ((2 * inputs[0],), options), with_kwargs=True
        ),
    ),
    "network shifts": ("", HOOKS["shifts"]),
    "network reads": ("", HOOKS["reads"]),
    "container's forward": ("0", replace_forward),
    "network's forward": ("", replace_forward),
}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("hook", CONTAINER_HOOKS)
def test_hooks_of_containers_and_of_the_network(hook: str, late: bool) -> None:
    """Also those that come, or go, after the network has been traced."""
    network, images = nested(), some_images(1, size=6)
    name, add = CONTAINER_HOOKS[hook]
    deconvnet = Deconvnet(network, method="gradient")
    if late:
        deconvnet.project(images, every_unit("1.0", (1, 1, 1)))
    add(network.get_submodule(name))
    assert_as_it_runs(network, images, "1.0")
    units = every_unit("1.0", (4, 6, 6))
    found = deconvnet.project_windows(images, units).activations
    torch.testing.assert_close(found, network(images).detach().flatten())
    maps = deconvnet.feature_maps(images, ["1.0"])["1.0"]
    torch.testing.assert_close(maps.flatten(), found)


def test_tracing_calls_no_hook_and_leaves_nothing_behind() -> None:
    network, seen = nested(), []
    for module in (network, network[0], network[0][0]):
        module.register_forward_hook(lambda module, inputs, output: seen.append(type(output)))
    before = {**vars(network)}
    deconvnet = Deconvnet(network)
    assert not seen and deconvnet.layers == ("0.0", "1.0")
    deconvnet.project(some_images(1, size=7), every_unit("1.0", (1, 1, 1)))
    assert seen and set(seen) == {Tensor}
    assert vars(network) == before


def test_spectral_norm_in_training_mode_keeps_its_buffers() -> None:
    network, images = chain(), some_images(1, size=7)
    parametrizations.spectral_norm(network[0])
    network.train()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    Deconvnet(network).project(images, every_unit("3", (1, 2, 2)))
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    assert network.training and network[0].training
