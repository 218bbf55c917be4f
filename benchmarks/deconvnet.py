"""Projecting top units of ZFNet: ours against Captum and zennit, and the distance to the floor.

    python benchmarks/deconvnet.py [--maps 2] [--top 9] [--repetitions 5] [--threads 1]
                                   [--batch-size 16] [--device cpu]

All sides project the same units, the strongest images of some feature maps of each layer, from
images in memory; forward passes are included. Captum differentiates through contrast normalisation
and seeds with 1, so that we do the same (`norm=jacobian`), and the results are compared. Captum and
zennit go image by image and in batches, each row of a batch with a unit of its own; what they
recommend is the faster of the two. zennit runs up to the layer only, Captum the whole network.

The floor is what arithmetic alone would take: the multiplications of the forward pass and of the
way down in the windows that the units see, at the rate at which this machine multiplies matrices.

The sides take turns. On a CPU the seconds are those of the processor, which other programs disturb
less than the clock's. Rows are weighted with the feature maps of each layer for the sum: it stands
for all 1,376 maps.
"""

import argparse
import copy
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from captum.attr import NeuronDeconvolution
from peers import require
from probe import zfnet
from torch import Tensor, nn
from zennit.composites import DeconvNet

from zf_lightning.atlas import TopActivations
from zf_lightning.deconv import Deconvnet, Units

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5")
#: A side projects units of images: `[U, 3, H, W]` or `[U, 3, h, w]`.
Side = Callable[[Tensor, Units], Tensor]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--maps", type=int, default=2, help="feature maps of each layer")
    parser.add_argument("--top", type=int, default=9)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU")
    peers = require(captum="0.8", zennit="1.0")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device(options.device)
    network = zfnet(classes=1000).network.to(device)
    images = pictures(options.images).to(device)
    groups = top_units(network, images, maps=options.maps, top=options.top)
    sides = make_sides(network, batch_size=options.batch_size)
    check_equal(sides, images, groups)
    rate = matrix_rate(device)
    print(f"{_name(device)}, {options.threads} threads, torch {torch.__version__}, {peers}")
    print(f"matrices: {rate / 1e9:.0f} GFLOP/s; {options.maps * options.top} units a layer\n")

    seconds: dict[str, dict[str, list[float]]] = {
        side: {layer: [] for layer in LAYERS} for side in sides
    }
    for _ in range(options.repetitions):
        for layer, units in groups.items():
            for side, project in sides.items():
                seconds[side][layer].append(timed(project, images, units, device) / len(units))
    report(seconds, maps_of(network), floor(network, images, rate))


def pictures(number: int) -> Tensor:
    """Smooth random pictures `[N, 3, 224, 224]`, normalised: strongest units lie anywhere."""
    coarse = torch.randn(number, 3, 28, 28)
    return nn.functional.interpolate(coarse, size=224, mode="bicubic") + 0.3 * torch.randn(
        number, 3, 224, 224
    )


def top_units(
    network: nn.Module, images: Tensor, *, maps: int | None, top: int
) -> dict[str, Units]:
    """The strongest units of some feature maps of each layer, or of all, as an atlas has them."""
    counts = maps_of(network)
    metric = TopActivations(counts, k=top).to(images.device)
    deconvnet = Deconvnet(network)
    for start in range(0, len(images), 16):
        batch = images[start : start + 16]
        indices = torch.arange(start, start + len(batch), device=images.device)
        metric.update(deconvnet.forward(batch, LAYERS).outputs, indices)
    groups = {}
    for layer, found in metric.compute().items():
        number = min(maps or counts[layer], counts[layer])
        chosen = torch.arange(0, counts[layer], counts[layer] // number)[:number]
        feature_maps = chosen[:, None].expand(-1, top).reshape(-1).to(images.device)
        groups[layer] = Units(
            layer,
            found.indices[chosen].reshape(-1),
            feature_maps,
            found.rows[chosen].reshape(-1),
            found.columns[chosen].reshape(-1),
        )
    return groups


def maps_of(network: nn.Module) -> dict[str, int]:
    """Number of feature maps of each layer."""
    modules = {layer: network.get_submodule(layer) for layer in LAYERS}
    return {layer: m.out_channels for layer, m in modules.items() if isinstance(m, nn.Conv2d)}


def make_sides(network: nn.Module, *, batch_size: int) -> dict[str, Side]:
    """Ours, Captum and zennit, with unit seeds, through the derivative of the normalisation."""
    deconvnet = Deconvnet(network, norm="jacobian", batch_size=batch_size)
    theirs = copy.deepcopy(network)
    for module in theirs.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False

    def ours(images: Tensor, units: Units) -> Tensor:
        found = deconvnet.project_windows(images, units)
        return found.pixels / found.activations[:, None, None, None]

    def captum(size: int) -> Side:
        def project(images: Tensor, units: Units) -> Tensor:
            method = NeuronDeconvolution(theirs, theirs.get_submodule(f"{units.layer}_relu"))
            parts = []
            for start in range(0, len(units), size):
                some = units[start : start + size]
                each = torch.arange(len(some), device=images.device)
                parts.append(
                    method.attribute(
                        images[some.images].requires_grad_(),
                        neuron_selector=lambda maps, some=some, each=each: maps[
                            each, some.feature_maps, some.rows, some.columns
                        ],
                    )
                )
            return torch.cat(parts).detach()

        return project

    def zennit(size: int) -> Side:
        def project(images: Tensor, units: Units) -> Tensor:
            modules = dict(theirs.named_children())
            last = list(modules).index(f"{units.layer}_relu")
            below = nn.Sequential(*list(modules.values())[: last + 1])
            parts = []
            with DeconvNet().context(below) as rectified:
                for start in range(0, len(units), size):
                    some = units[start : start + size]
                    pixels = images[some.images].requires_grad_()
                    maps = rectified(pixels)
                    seed = torch.zeros_like(maps)
                    each = torch.arange(len(some), device=images.device)
                    seed[each, some.feature_maps, some.rows, some.columns] = 1
                    parts.append(torch.autograd.grad(maps, pixels, seed)[0])
            return torch.cat(parts)

        return project

    return {
        "ours": ours,
        "Captum one by one": captum(1),
        "Captum batched": captum(batch_size),
        "zennit one by one": zennit(1),
        "zennit batched": zennit(batch_size),
    }


def check_equal(sides: dict[str, Side], images: Tensor, groups: dict[str, Units]) -> None:
    """Stop unless all sides project the same: ours are cut to what a unit sees, theirs are not."""
    for layer, units in groups.items():
        few = units[:3]
        found = {side: project(images, few) for side, project in sides.items()}
        energy = {side: pixels.square().sum((1, 2, 3)) for side, pixels in found.items()}
        for side, value in energy.items():
            torch.testing.assert_close(
                value, energy["ours"], rtol=1e-3, atol=0, msg=f"{layer} {side}"
            )


def timed(project: Side, images: Tensor, units: Units, device: torch.device) -> float:
    """Seconds for the units: the processor's, or a GPU's."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    _synchronise(device)
    began = clock()
    project(images, units)
    _synchronise(device)
    return clock() - began


def matrix_rate(device: torch.device, *, size: int = 2048) -> float:
    """Floating-point operations a second in the best of several large matrix products."""
    left, right = torch.randn(2, size, size, device=device).unbind()
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    seconds = []
    for _ in range(7):
        _synchronise(device)
        began = clock()
        left @ right
        _synchronise(device)
        seconds.append(clock() - began)
    return 2 * size**3 / min(seconds)


def floor(network: nn.Module, images: Tensor, rate: float) -> dict[str, float]:
    """Seconds a unit for the multiplications in its windows, on the way up and on the way down."""
    deconvnet = Deconvnet(network)
    found = {}
    for layer in LAYERS:
        plan = deconvnet.crop_plan(layer, (images.shape[1], images.shape[2], images.shape[3]))
        assert plan is not None
        operations = 0
        for node, window in plan.nodes.items():
            module = dict(network.named_modules()).get(str(node.target))
            if isinstance(module, nn.Conv2d):
                each = module.weight.numel()
                # Of the layer itself only the unit's own filter takes part.
                each //= module.out_channels if node.target == layer else 1
                operations += 2 * each * window.size[0] * window.size[1]
        found[layer] = 2 * operations / rate
    return found


def report(
    seconds: dict[str, dict[str, list[float]]], counts: dict[str, int], least: dict[str, float]
) -> None:
    """Print medians, the ratio to the best of the others, and the distance to the floor."""
    print("milliseconds a unit, median (spread of the repetitions)")
    print(f"  {'':<18}" + "".join(f"{layer:>22}" for layer in LAYERS) + f"{'all maps':>12}")
    medians: dict[str, dict[str, float]] = {}
    for side, layers in seconds.items():
        medians[side] = {layer: statistics.median(values) for layer, values in layers.items()}
        cells = [
            f"{1e3 * medians[side][layer]:8.2f} "
            f"({1e3 * min(layers[layer]):.2f}-{1e3 * max(layers[layer]):.2f})"
            for layer in LAYERS
        ]
        print(
            f"  {side:<18}"
            + "".join(f"{cell:>22}" for cell in cells)
            + _total(medians[side], counts)
        )
    print(
        f"  {'floor':<18}"
        + "".join(f"{1e3 * least[layer]:>22.2f}" for layer in LAYERS)
        + _total(least, counts)
    )
    others = [side for side in medians if side != "ours"]
    for name in ("Captum", "zennit"):
        of_tool = [side for side in others if side.startswith(name)]
        print(f"  {name + ', best':<18}" + _ratios(medians, of_tool, counts))
    print(f"  {'best of all':<18}" + _ratios(medians, others, counts))
    print(
        f"  {'ours / floor':<18}"
        + "".join(f"{medians['ours'][layer] / least[layer]:>21.1f}x" for layer in LAYERS)
        + f"{_sum(medians['ours'], counts) / _sum(least, counts):>11.1f}x"
    )


def _ratios(medians: dict[str, dict[str, float]], sides: list[str], counts: dict[str, int]) -> str:
    best = {layer: min(medians[side][layer] for side in sides) for layer in LAYERS}
    cells = "".join(f"{best[layer] / medians['ours'][layer]:>21.1f}x" for layer in LAYERS)
    # Over all layers the best is one tool and way, not another one for each layer.
    whole = min(_sum(medians[side], counts) for side in sides)
    return cells + f"{whole / _sum(medians['ours'], counts):>11.1f}x"


def _sum(values: dict[str, float], counts: dict[str, int]) -> float:
    return sum(counts[layer] * values[layer] for layer in LAYERS) / sum(counts.values())


def _total(values: dict[str, float], counts: dict[str, int]) -> str:
    return f"{1e3 * _sum(values, counts):>12.2f}"


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
