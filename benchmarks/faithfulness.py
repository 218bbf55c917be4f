"""The faithfulness of a layer's projections, beside the same test by Captum's `Occlusion`.

    python benchmarks/faithfulness.py [--layers 3 5 10] [--maps 24] [--captum-units 3]

SqueezeNet 1.0 with random weights on random pictures of 227 pixels, one thread. *All* is what
`task=faithfulness` computes of a layer's units: search, projections by three methods with their
contrast and specificity, squares and curves for every ranking. *Two squares* is the test alone: the
unit and the other maps at its position before 100 hidden squares. Captum's `Occlusion` hides the
same squares of the same units, in alternation with ours, as well as it can: it slides over a list
of squares, of which the forward function makes images, and the network ends behind the layer; with
several `perturbations_per_eval`, and with channels first, PyTorch's default, or last, as ours are.
Both must find the same. Seconds are the processor's. Wanted: at most 5 minutes, and 10 times as
fast.
"""

import argparse
import itertools
import statistics
import time
from typing import Any

import torch
from captum.attr import Occlusion
from deconvnet import pictures
from peers import require
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models import squeezenet1_0

from zf_lightning.analysis.faithfulness import (
    faithfulness,
    projected_importances,
    trivial_importances,
)
from zf_lightning.analysis.place_response import PlaceResponse
from zf_lightning.analysis.specificity import specificity
from zf_lightning.analysis.squares import hide
from zf_lightning.analysis.two_squares import TwoSquares, hide_two_squares
from zf_lightning.deconv import Deconvnet, Units
from zf_lightning.deconv.backward import MethodName
from zf_lightning.tasks.faithfulness import strongest_units

SIDE, PAIRS = 227, 50
METHODS: tuple[MethodName, ...] = ("deconvnet", "guided", "gradient")
#: Of feature maps in memory.
ORDERS = {"first": torch.contiguous_format, "last": torch.channels_last}
#: The graph's nodes behind the Fire modules that end as `features.N`.
NODES = {"3": "cat", "4": "cat_1", "5": "cat_2", "7": "cat_3", "8": "cat_4", "9": "cat_5"}
NODES |= {"10": "cat_6", "12": "cat_7"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", nargs="+", choices=NODES, default=["3", "5", "10"])
    parser.add_argument("--maps", type=int, default=24)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--captum-units", type=int, default=3)
    parser.add_argument("--at-once", nargs="+", type=int, default=[1, 16])
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"one thread, torch {torch.__version__}, {require(captum='0.8')}")
    network = squeezenet1_0(weights=None).eval().requires_grad_(False)
    images = interpolate(pictures(options.images), size=SIDE)
    for layer in options.layers:
        units, seconds = everything(network, images, NODES[layer], options.maps)
        print(f"features.{layer}: all of {len(units)} maps {seconds / 60:.2f} minutes")
        # Up to the layer, which is all that a unit needs.
        cut = nn.Sequential(*network.features[: int(layer) + 1])
        deconvnet = Deconvnet(network)
        # Caches are filled, for both.
        ours(deconvnet, images, units[:1])
        pairs = [
            (own, captum(cut, images[image], unit, found, options.at_once))
            for number, (image, *unit) in enumerate(places(units[: options.captum_units]))
            for own, found in [ours(deconvnet, images, units[number : number + 1])]
        ]
        print(f"  two squares: {1e3 * statistics.mean(own for own, _ in pairs):.0f} ms a unit")
        for at_once, order in pairs[0][1]:
            ratios = [found[at_once, order] / own for own, found in pairs]
            print(
                f"  Captum's Occlusion, channels {order}, {at_once} at a time: {min(ratios):.1f} "
                f"to {max(ratios):.1f} times, median {statistics.median(ratios):.1f}"
            )


def everything(network: nn.Module, images: Tensor, layer: str, maps: int) -> tuple[Units, float]:
    """The units of a layer, and the seconds of all that the task computes of them."""
    began = time.process_time()
    deconvnets = {method: Deconvnet(network, method=method) for method in METHODS}
    first = deconvnets["deconvnet"]
    units = strongest_units(first, images, [layer], number=maps, seed=0)[layer]
    importances = trivial_importances(first, images, units)
    for method, deconvnet in deconvnets.items():
        found = specificity(deconvnet, images, units)
        importances |= projected_importances(method, deconvnet, images, units, found)
    faithfulness(first, images, units, importances, pairs=PAIRS)
    return units, time.process_time() - began


def ours(deconvnet: Deconvnet, images: Tensor, unit: Units) -> tuple[float, "Hidden"]:
    """Seconds of hiding squares before a unit, and what was found."""
    began = time.process_time()
    ((image, feature_map, row, column),) = places(unit)
    response = PlaceResponse(deconvnet, images[image], unit.layer, row, column)
    hiding = torch.zeros_like(response.pixels)
    generator = torch.Generator().manual_seed(0)
    found = hide_two_squares(response, feature_map, hiding, pairs=PAIRS, generator=generator)
    return time.process_time() - began, (found, (response.window.top, response.window.left))


#: Pairs of squares, and the corner of the window that they are in.
Hidden = tuple[TwoSquares, tuple[int, int]]


def captum(
    cut: nn.Module, image: Tensor, unit: list[int], hidden: Hidden, at_once: list[int]
) -> dict[tuple[int, str], float]:
    """Seconds that `Occlusion` takes for the same squares, by how many at a time and channels.

    One at a time it may return several numbers of an image: the unit, and the other maps together.
    More at a time it returns one, and would have to be asked twice: it is asked for the unit alone.
    Raises AssertionError where what it finds is not what we found.
    """
    found, corner = hidden
    starts = found.starts.flatten(0, 1) + torch.tensor(corner)
    feature_map, row, column = unit
    active = found.before > 0
    active[feature_map] = False
    seconds = {}
    for number, order in itertools.product(at_once, ORDERS):
        cut.to(memory_format=ORDERS[order])

        def forward(shown: Tensor, single: bool = number == 1, form: Any = ORDERS[order]) -> Tensor:
            # Which square is hidden; none of them in the first call.
            square = (shown == 0).float().argmax(1)
            images = image.expand(len(shown), -1, -1, -1)
            pixels = hide(images, starts[square], found.side, 0.0)
            pixels = images.where(shown.bool().all(1)[:, None, None, None], pixels)
            maps = cut(pixels.contiguous(memory_format=form))[:, :, row, column]
            if single:
                return torch.stack([maps[0, feature_map], maps[0, active].sum()])
            return maps[:, feature_map]

        began = time.process_time()
        drops = Occlusion(forward).attribute(
            torch.ones(1, len(starts)), (1,), perturbations_per_eval=number
        )
        seconds[number, order] = time.process_time() - began
        own = drops[0].double() / found.before[feature_map]
        torch.testing.assert_close(own.view(-1, 2), found.own, rtol=1e-3, atol=1e-5)
        if number == 1 and active.any():
            others = drops[1].double() / found.before[active].sum()
            torch.testing.assert_close(others.view(-1, 2), found.others, rtol=1e-3, atol=1e-5)
    return seconds


def places(units: Units) -> list[tuple[int, ...]]:
    """Image, feature map, row and column of each."""
    values = (units.images, units.feature_maps, units.rows, units.columns)
    return list(zip(*(one.tolist() for one in values), strict=True))


if __name__ == "__main__":
    main()
