"""A ReLU in every form that networks have it in, against autograd, and Captum and zennit where they
know the form: both hook modules of the class nn.ReLU, and take any other for its gradient
(findings/captum_relu.sh).
"""

import copy
from collections.abc import Callable
from math import inf

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.deconv.oracles import Small, outputs_by_autograd, some_images
from zf_lightning.deconv import Deconvnet, Unit

captum_attr = pytest.importorskip("captum.attr")
composites = pytest.importorskip("zennit.composites")
pytestmark = pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU activations")


class Modules(Small):
    """A ReLU module for each place: what Captum and zennit are made for."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        return self.last_relu(self.second(self.relu(self.first(images))))


class InPlace(Modules):
    """The first ReLU writes over the convolution's output."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)


class BatchNorm(Modules):
    """Scales and shifts before the second ReLU; the shift takes no part in the way down."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4).double()
        with torch.no_grad():
            self.norm.running_mean += 0.2
            self.norm.weight[1] *= -2

    def forward(self, images: Tensor) -> Tensor:
        return self.last_relu(self.norm(self.second(self.relu(self.first(images)))))


class Reused(Small):
    """One ReLU in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.last_relu.inplace = False

    def forward(self, images: Tensor) -> Tensor:
        return self.last_relu(self.second(self.last_relu(self.first(images))))


class SkipAfterRelu(Modules):
    """A residual block as in ResNet."""

    def forward(self, images: Tensor) -> Tensor:
        values = self.relu(self.first(images))
        return self.last_relu(self.second(values) + values)


class SkipBeforeRelu(Modules):
    """A residual block as in the second version of ResNet: the skip starts before the ReLU."""

    def forward(self, images: Tensor) -> Tensor:
        values = self.first(images)
        return self.last_relu(self.second(self.relu(values)) + values)


class Functional(Modules):
    """The first ReLU is a function."""

    def forward(self, images: Tensor) -> Tensor:
        return self.last_relu(self.second(F.relu(self.first(images))))


class Six(Modules):
    """The first ReLU ends at 6."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU6()


class ContrastNormalisation(Modules):
    """The paper's layer, through which the signal goes unchanged."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LocalResponseNorm(3, alpha=0.5)

    def forward(self, images: Tensor) -> Tensor:
        return self.last_relu(self.second(self.norm(self.relu(self.first(images)))))


def images() -> Tensor:
    return some_images(1, size=13)


def strongest(network: nn.Module) -> tuple[int, ...]:
    with torch.no_grad():
        maps = network.eval()(images())[0]
    return tuple(int(number) for number in torch.unravel_index(maps.argmax(), maps.shape))


def ours(network: nn.Module, at: tuple[int, ...], **mode: str) -> Tensor:
    """The projection of a unit of the output, seeded with 1."""
    deconvnet = Deconvnet(network, **{"norm": "jacobian", **mode})  # type: ignore[arg-type]
    layer = [node.name for node in deconvnet.graph.graph.nodes][-2]
    found = deconvnet.project(images(), [Unit(0, layer, *at)])
    return found.pixels / found.activations


def by_autograd(network: nn.Module, at: tuple[int, ...], *, rule: str = "deconvnet") -> Tensor:
    pixels = images().requires_grad_()
    output = outputs_by_autograd(network, pixels, {"last_relu": ("last_relu", None)}, rule=rule)
    return torch.autograd.grad(output["last_relu"][(0, *at)], pixels)[0]


def captum(network: nn.Module, at: tuple[int, ...]) -> Tensor:
    network = copy.deepcopy(network).eval()
    method = captum_attr.NeuronDeconvolution(network, network.last_relu)
    return method.attribute(images().requires_grad_(), neuron_selector=at).detach()


def zennit(network: nn.Module, at: tuple[int, ...]) -> Tensor:
    pixels = images().requires_grad_()
    with composites.DeconvNet().context(copy.deepcopy(network).eval()) as rectified:
        return torch.autograd.grad(rectified(pixels)[(0, *at)], pixels)[0]


LIBRARIES: dict[str, Callable[[nn.Module, tuple[int, ...]], Tensor]] = {
    "captum": captum,
    "zennit": zennit,
}
both = pytest.mark.parametrize("library", LIBRARIES)


def same(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(first, second, rtol=1e-9, atol=1e-12)


@both
@pytest.mark.parametrize("kind", [Modules, InPlace, BatchNorm, Reused, SkipAfterRelu])
def test_all_agree(kind: type[Small], library: str) -> None:
    network = kind()
    at = strongest(network)
    assert same(ours(network, at), by_autograd(network, at))
    assert same(LIBRARIES[library](network, at), ours(network, at))


@pytest.mark.parametrize("kind", [Functional, Six, SkipBeforeRelu])
def test_equals_autograd(kind: type[Small]) -> None:
    network = kind()
    at = strongest(network)
    assert same(ours(network, at), by_autograd(network, at))


def test_zennit_agrees_on_a_skip_that_starts_before_a_relu() -> None:
    network = SkipBeforeRelu()
    at = strongest(network)
    assert same(zennit(network, at), ours(network, at))


@both
def test_contrast_normalisation_is_differentiated_on_request(library: str) -> None:
    network = ContrastNormalisation()
    at = strongest(network)
    assert same(LIBRARIES[library](network, at), ours(network, at, norm="jacobian"))
    assert not same(ours(network, at, norm="identity"), ours(network, at, norm="jacobian"))


def test_a_unit_that_nothing_excites_has_an_empty_projection() -> None:
    network = Modules()
    with torch.no_grad():
        maps = network.eval()(images())[0]
    at = tuple(int(number) for number in (maps == 0).nonzero()[0])
    assert not Deconvnet(network).project(images(), [Unit(0, "last_relu", *at)]).pixels.any()


def test_each_use_of_a_relu_is_a_layer() -> None:
    network = Reused()
    deconvnet = Deconvnet(network)
    at = strongest(network)
    # Each use has a name, and the first is also what is meant by the first convolution.
    layers = ["last_relu_0", "last_relu_1", "first"]
    maps = deconvnet.feature_maps(images(), layers)
    assert torch.equal(maps["last_relu_0"], maps["first"])
    assert not torch.equal(maps["last_relu_0"], maps["last_relu_1"])
    at = tuple(int(n) for n in torch.unravel_index(maps["first"][0].argmax(), (4, 13, 13)))
    found = deconvnet.project(images(), [Unit(0, layer, *at) for layer in ("last_relu_0", "first")])
    pixels = images().requires_grad_()
    outputs = outputs_by_autograd(network, pixels, {"first": ("first", inf)}, rule="deconvnet")
    (expected,) = torch.autograd.grad(outputs["first"][(0, *at)], pixels)
    for projection in found.pixels / found.activations[:, None, None, None]:
        assert same(projection, expected[0])
