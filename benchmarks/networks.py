"""Projecting top units of networks of torchvision: ours against Captum and plain autograd.

    python benchmarks/networks.py [--networks resnet18 vgg16 …] [--maps 20] [--top 9]
                                  [--images 64] [--size 224] [--repetitions 5] [--threads 1]
                                  [--batch-size 16]

All sides project the same units, the strongest images of some feature maps of an early, a middle
and a late layer, from images in memory; weights are random, forward passes included, normalisations
taken by their derivative; Captum's seed is 1 and not the unit's activation. The sides take turns;
seconds are those of the processor.

- Autograd: the network's modules with rectifying ReLUs (and SiLUs and GELUs; the gates of
  EfficientNet are detached), up to the layer, in two ways: a row of the batch a unit, and a row an
  image, whose units go down one after the other. The better counts.
- Captum's `NeuronDeconvolution`, a row a unit, where its result is the same. It runs the whole
  network.

The bar: never slower than autograd, and half its time on early and middle layers.
"""

import argparse
import copy
import statistics
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from captum.attr import NeuronDeconvolution
from deconvnet import pictures, timed
from peers import require
from torch import Tensor, nn
from torchvision.models import get_model

from zf_lightning.deconv import Deconvnet, Units

#: An early, a middle and a late layer of each.
NETWORKS = {
    "resnet18": ("layer1.0.conv1", "layer2.1.conv1", "layer4.1.conv1"),
    "vgg16": ("features.2", "features.14", "features.28"),
    "squeezenet1_0": ("features.3.expand3x3", "features.7.expand3x3", "features.12.expand3x3"),
    "googlenet": ("conv3.conv", "inception4a.branch2.1.conv", "inception5b.branch2.1.conv"),
    "efficientnet_b0": (
        *("features.2.0.block.0.0", "features.4.1.block.0.0", "features.7.0.block.0.0"),
    ),
    "convnext_tiny": ("features.1.0.block.0", "features.3.1.block.0", "features.7.1.block.0"),
}
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU)
#: A side projects units of images `[N, 3, H, W]`: `[U, 3, H, W]` or `[U, 3, h, w]`.
Side = Callable[[Tensor, Units], Tensor]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--maps", type=int, default=20, help="feature maps of each layer")
    parser.add_argument("--top", type=int, default=9)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=16)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"{options.threads} threads, torch {torch.__version__}, {require(captum='0.8')}")
    images = F.interpolate(pictures(options.images), size=options.size)
    print("milliseconds a unit, medians; times as fast as autograd (spread), as Captum")
    for name in options.networks:
        network = get_model(name, weights=None).eval().requires_grad_(False)
        for layer in NETWORKS[name]:
            units = top_units(network, layer, images, options.maps, options.top)
            sides = make_sides(network, layer, options.batch_size)
            few = units[:4]
            right = {side: _energy(project, images, few) for side, project in sides.items()}
            # In float32 a rounding may decide a switch, and change a projection a little.
            if not torch.allclose(right["Captum"], right["ours"], rtol=1e-2, atol=0):
                del sides["Captum"]
            for side in sides:
                torch.testing.assert_close(right[side], right["ours"], rtol=1e-2, atol=0, msg=side)
            seconds: dict[str, list[float]] = {side: [] for side in sides}
            for _ in range(options.repetitions):
                for side, project in sides.items():
                    took = timed(project, images, units, images.device)
                    seconds[side].append(took / len(units))
            report(name, layer, seconds)


def top_units(network: nn.Module, layer: str, images: Tensor, number: int, top: int) -> Units:
    """The strongest units of `top` images of `number` feature maps, spread over all of them."""
    deconvnet, strongest, places = Deconvnet(network), [], []
    for batch in images.split(4):
        maps = deconvnet.feature_maps(batch, [layer])[layer]
        values, at = maps.flatten(2).max(2)
        strongest.append(values)
        places.append(at)
    activations, at = torch.cat(strongest), torch.cat(places)
    number = min(number, activations.shape[1])
    chosen = torch.arange(number) * (activations.shape[1] // number)
    which = activations[:, chosen].topk(min(top, len(images)), dim=0).indices
    feature_maps = chosen.expand_as(which).T.flatten()
    which = which.T.flatten()
    place = at[which, feature_maps]
    columns = deconvnet.shapes([layer], (images.shape[2], images.shape[3]))[layer][2]
    return Units(layer, which, feature_maps, place // columns, place % columns)


class _Rectified(torch.autograd.Function):
    """An activation whose signal keeps its positive part."""

    @staticmethod
    def forward(context: Any, values: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        return function(values)

    @staticmethod
    def backward(context: Any, signal: Tensor) -> tuple[Tensor, None]:
        return signal.clamp(min=0), None


class Rectifying(nn.Module):
    """An activation module, as `_Rectified`."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, values: Tensor) -> Tensor:
        return _Rectified.apply(values, self.activation)


class Held(nn.Sigmoid):
    """A gate, which is a constant."""

    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values).detach()


def _not_in_place(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.ReLU | nn.ReLU6 | nn.SiLU):
            module.inplace = False


class _Enough(Exception):
    """The layer's output is there."""


class Autograd:
    """Plain autograd through the modules of a network, rectifying, up to a layer."""

    def __init__(self, network: nn.Module, layer: str, batch_size: int) -> None:
        self.network, self.batch_size = copy.deepcopy(network), batch_size
        _not_in_place(self.network)
        for name, module in [*self.network.named_modules()]:
            if isinstance(module, ACTIVATIONS):
                self._replace(name, Rectifying(module))
            elif isinstance(module, nn.Sigmoid):
                self._replace(name, Held())
        node = Deconvnet(network).graph.node(layer)
        #: A functional ReLU that follows the module belongs to the layer.
        self.rectified = node.op != "call_module"
        module = str(node.target) if not self.rectified else str(node.all_input_nodes[0].target)
        self.network.get_submodule(module).register_forward_hook(self._keep)
        self._output: Tensor | None = None

    def _replace(self, name: str, module: nn.Module) -> None:
        parent, _, child = name.rpartition(".")
        setattr(self.network.get_submodule(parent), child, module)

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._output = F.relu(output) if self.rectified else output
        raise _Enough

    def maps(self, pixels: Tensor) -> Tensor:
        with suppress(_Enough), rectifying_functions():
            self.network(pixels)
        assert self._output is not None
        return self._output

    def row_a_unit(self, images: Tensor, units: Units) -> Tensor:
        parts = []
        for start in range(0, len(units), self.batch_size):
            some = units[start : start + self.batch_size]
            pixels = images[some.images].requires_grad_()
            maps = self.maps(pixels)
            at = torch.arange(len(some)), some.feature_maps, some.rows, some.columns
            activations = maps[at]
            parts.append(torch.autograd.grad(activations, pixels, activations.detach())[0])
        return torch.cat(parts)

    def row_an_image(self, images: Tensor, units: Units) -> Tensor:
        found = images.new_empty(len(units), *images.shape[1:])
        for which in units.images.unique().split(self.batch_size):
            pixels = images[which].requires_grad_()
            maps = self.maps(pixels)
            waiting = [(units.images == image).nonzero()[:, 0] for image in which]
            for rank in range(max(map(len, waiting))):
                rows = torch.tensor([r for r, own in enumerate(waiting) if len(own) > rank])
                own = torch.stack([waiting[row][rank] for row in rows.tolist()])
                at = rows, units.feature_maps[own], units.rows[own], units.columns[own]
                activations = maps[at]
                seed = activations.detach()
                (signal,) = torch.autograd.grad(activations, pixels, seed, retain_graph=True)
                found[own] = signal[rows]
        return found


@contextmanager
def rectifying_functions() -> Iterator[None]:
    """ReLUs that are functions, as GoogLeNet has them, rectify too."""
    relu = F.relu

    def rectified(values: Tensor, inplace: bool = False) -> Tensor:
        return _Rectified.apply(values, relu)

    with mock.patch.object(F, "relu", rectified):
        yield


def make_sides(network: nn.Module, layer: str, batch_size: int) -> dict[str, Side]:
    """Ours, autograd in two ways, and Captum."""
    deconvnet = Deconvnet(network, norm="jacobian", batch_size=batch_size)
    autograd = Autograd(network, layer, batch_size)
    theirs = copy.deepcopy(network)
    _not_in_place(theirs)
    node = deconvnet.graph.node(layer)
    target = layer if node.op != "call_module" else str(node.target)

    def captum(images: Tensor, units: Units) -> Tensor:
        method = NeuronDeconvolution(theirs, theirs.get_submodule(target))
        parts = []
        for start in range(0, len(units), batch_size):
            some = units[start : start + batch_size]
            at = torch.arange(len(some)), some.feature_maps, some.rows, some.columns
            found = method.attribute(
                images[some.images].requires_grad_(), neuron_selector=lambda maps, at=at: maps[at]
            )
            parts.append(found.detach())
        return torch.cat(parts)

    return {
        "ours": lambda images, units: deconvnet.project_windows(images, units).pixels,
        "autograd, a row a unit": autograd.row_a_unit,
        "autograd, a row an image": autograd.row_an_image,
        "Captum": captum,
    }


def _energy(project: Side, images: Tensor, units: Units) -> Tensor:
    """How a projection's energy is shared by the channels: ours are cut to what a unit sees."""
    energy = project(images, units).double().square().sum((2, 3))
    return energy / energy.sum(1, keepdim=True)


def report(name: str, layer: str, seconds: dict[str, list[float]]) -> None:
    """A line with medians, and with the ratio to the better way of autograd."""
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    best = min((side for side in medians if side.startswith("autograd")), key=medians.__getitem__)
    ratios = [theirs / own for theirs, own in zip(seconds[best], seconds["ours"], strict=True)]
    times = ", ".join(f"{side} {1e3 * median:.2f}" for side, median in medians.items())
    captum = f", {medians['Captum'] / medians['ours']:.1f}" if "Captum" in medians else ""
    print(
        f"{name} {layer}: {times}; {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}){captum}",
        flush=True,
    )


if __name__ == "__main__":
    main()
