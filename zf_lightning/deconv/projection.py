"""Projection: images go up the graph with autograd, and the units' signals come down it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from zf_lightning.deconv.call import NoRule
from zf_lightning.deconv.crops import Positions, crop_inputs, crop_pixels, fill_output
from zf_lightning.deconv.held import held_by, tensors_in
from zf_lightning.deconv.locality import Locality, axes_of, positions_of
from zf_lightning.deconv.operations import Operations
from zf_lightning.deconv.precision import full_precision
from zf_lightning.deconv.running import run_operation
from zf_lightning.deconv.shared import CropUnits, SharedPass, sharing_is_less_work
from zf_lightning.deconv.units import Units
from zf_lightning.errors import UserError
from zf_lightning.graph.network import Graph
from zf_lightning.graph.operations import evaluate, kind_of
from zf_lightning.models.evaluation import evaluation_mode

#: Most backward passes that share one forward pass of an image. A row of the batch is an image, and
#: each pass takes one unit of it down: with more rows for the same image a pass does more at once,
#: with fewer the forward pass is repeated less often.
PASSES = 4
#: Bytes that the largest feature maps of a batch of crops take at most on a CPU. What takes more
#: than 32 MiB the C library hands back to the system, and filling new memory costs more than
#: computing what goes there: conv5 of ZFNet takes a fifth less time with 16 crops than with 32.
ROOM = 28 * 2**20


class Part(NamedTuple):
    """Some of the units that were asked for, projected."""

    group: int
    units: Units
    #: `[U]`: their places among the units of the group.
    places: Tensor
    #: `[U, C, h, w]`: of the whole images, or of crops that hold all that the unit sees.
    pixels: Tensor
    activations: Tensor
    #: First row and first column `[U]` of the crops; None for whole images.
    starts: tuple[Tensor, Tensor] | None


@dataclass
class ForwardState:
    """What the way down needs of a forward pass of some images."""

    #: `[N, C, H, W]` or `[N, C]` for each layer, by the names that were asked for.
    outputs: dict[str, Tensor]
    nodes: dict[str, fx.Node] = field(repr=False)
    localities: dict[fx.Node, Locality] = field(repr=False)
    #: Shape of each node's output for one image, `(C, H, W)` or `(C,)`, and of the image; of nodes
    #: only where operations are asked where positions are.
    shapes: dict[fx.Node, tuple[int, ...]] = field(repr=False)
    _pixels: Tensor = field(repr=False)
    #: `outputs` with what autograd needs.
    _values: dict[str, Tensor] = field(repr=False)

    def backward(self, layer: str, signal: Tensor, images: Tensor | None = None) -> Tensor:
        """Take a signal from the output of `layer` down to the pixels, `[U, C, H, W]`.

        Args:
            signal: `[U, C, H, W]` or `[U, C]`, one row a unit.
            images: `[U]` int64, the image of each row; by default each image has one.
        """
        output = self._values[layer]
        if images is None:
            images = torch.arange(len(signal), device=signal.device)
        pixels = signal.new_zeros(len(signal), *self._pixels.shape[1:])
        passes = _ranks(images)
        with full_precision(output.device):
            for number in range(int(passes.max()) + 1 if len(passes) else 0):
                rows = (passes == number).nonzero()[:, 0]
                seed = torch.zeros_like(output)
                seed[images[rows]] = signal[rows]
                (found,) = torch.autograd.grad(output, self._pixels, seed, retain_graph=True)
                pixels[rows] = found[images[rows]]
        return pixels


def _laid_out(output: Any, locality: Locality) -> tuple[Locality, tuple[int, ...]]:
    """Where the rows and columns of a value, or of several alike, are, and `(C, H, W)` of it."""
    first = next(tensors_in(output), None)
    if first is None:
        return locality, ()
    if any(map(held_by, tensors_in(output))):
        locality = replace(locality, held=True)
    axes = axes_of(first)
    if axes is None or isinstance(output, dict):
        return locality, tuple(first.shape[1:])
    rows, columns = positions_of(first, axes)
    return replace(locality, axes=axes), (first[0].numel() // (rows * columns), rows, columns)


def _units_of(layer: str, output: Any, images: int) -> Tensor:
    """A layer's output, if it has units of each image that a signal can go down from."""
    if not isinstance(output, Tensor) or output.dim() not in (2, 4) or len(output) != images:
        found = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UserError(
            f"{layer} gives {found} for {images} images: it has no units of each image, as "
            "[N, C, H, W] and [N, C] have."
        )
    if not output.requires_grad:
        if refusal := getattr(output, "refusal", None):
            raise NoRule(refusal)
        raise UserError(
            f"Nothing leads down from {layer}: all that it takes is held, as gates and attention "
            "weights are."
        )
    return output


def _check_apart(outputs: Mapping[str, Tensor], pixels: Tensor) -> None:
    """Raise UserError where the first image's units depend on the other images of the batch."""
    seeds = [torch.zeros_like(output) for output in outputs.values()]
    for seed in seeds:
        seed[0] = 1
    (found,) = torch.autograd.grad([*outputs.values()], pixels, seeds, retain_graph=True)
    if not found[1:].any():
        return
    if len(outputs) == 1:
        raise UserError(
            f"{next(iter(outputs))} of one image depends on the others of its batch, so that its "
            "units have no projection of their own."
        )
    for layer, output in outputs.items():
        _check_apart({layer: output}, pixels)


def _ranks(values: Tensor) -> Tensor:
    """`[U]`: of each value, how many equal ones come before it."""
    order = values.argsort(stable=True)
    ordered = values[order]
    firsts = torch.searchsorted(ordered, ordered)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(values), device=values.device) - firsts
    return ranks


def in_crops_is_less_work(share: float, images: Tensor, *, shared: bool = False) -> Tensor:
    """`[U]` bool: whether a unit is less work in its crop than with its whole image.

    Args:
        share: values computed in a crop, as a share of those of a whole image.
        images: `[U]` int64, the image of each unit.
        shared: whether crops need a pass of the whole image.
    """
    # In a crop a unit has a pass down of its own, and one up unless a pass of the whole image is
    # less work than one of all its crops. Whole images go down whole, and up for some units each.
    _, inverse, counts = images.unique(return_inverse=True, return_counts=True)
    units = counts[inverse]
    passes_up = (units / PASSES).ceil() / units
    up = 1 / units if shared else (1 / units).clamp(max=share)
    return share + up < passes_up + 1


@contextmanager
def projecting(network: nn.Module, device: torch.device) -> Iterator[None]:
    """In evaluation mode and full precision, with autograd, whatever goes on around it."""
    with full_precision(device), evaluation_mode(network):
        with torch.inference_mode(False), torch.enable_grad():
            yield


@dataclass(frozen=True)
class Projector:
    """Runs images up a graph and takes units down it; to be used while `projecting`.

    Args:
        graph: of the network.
        operations: how each operation is run, and goes back.
        batch_size: most rows of a batch.
        apart: layers whose images were seen to stay apart in a batch; grows.
    """

    graph: Graph
    operations: Operations
    batch_size: int
    apart: set[str]

    def forward(self, images: Tensor, layers: Mapping[str, fx.Node]) -> ForwardState:
        """Run images `[N, C, H, W]` up to `layers`.

        Raises UserError for an operation on the way that has no backward rule.
        """
        localities: dict[fx.Node, Locality] = {}
        shapes = {self.graph.input: tuple(images.shape[1:])}
        refused: dict[str, UserError] = {}

        def run(node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
            try:
                output, localities[node] = run_operation(self.graph, self.operations, node, values)
            except UserError as problem:
                # Go on, to name all that have none.
                refused.setdefault(kind_of(self.graph.network, node), problem)
                with suppress(RuntimeError, UserError):
                    return evaluate(self.graph.network, node, values)
                raise
            if self.operations.places:
                localities[node], shapes[node] = _laid_out(output, localities[node])
            return output

        pixels = (images.clone() if images.is_inference() else images.detach()).requires_grad_()
        values = self.graph.walk(pixels, layers.values(), run)
        if refused:
            first, *others = refused
            also = f" Nor have: {', '.join(others)}." if others else ""
            raise UserError(f"{refused[first]}{also}")
        found = {
            layer: _units_of(
                layer, self.graph.as_maps(node, values[node], len(images)), len(images)
            )
            for layer, node in layers.items()
        }
        if len(images) > 1 and not all(locality.in_crops for locality in localities.values()):
            if new := {layer: found[layer] for layer in found.keys() - self.apart}:
                _check_apart(new, pixels)
                self.apart.update(new)
        outputs = {layer: output.detach() for layer, output in found.items()}
        return ForwardState(outputs, dict(layers), localities, shapes, pixels, found)

    def in_crops(self, images: Tensor, groups: Sequence[CropUnits]) -> Iterator[Part]:
        """Project units of several layers, each in the crop that it sees.

        The units of an image share its forward pass where that is less work.
        """
        shared = sharing_is_less_work(groups, len(images)).to(images.device)
        if not shared.any():
            for group in groups:
                yield from self._in_crops(images, group, None)
            return
        for group in groups:
            yield from self._in_crops(images, group[~shared[group.units.images]], None)
        for these in shared.nonzero()[:, 0].split(max(1, self.batch_size // PASSES)):
            here = [group[torch.isin(group.units.images, these)] for group in groups]
            plans = [group.plan for group in here if len(group)]
            up = SharedPass(self.graph, self.operations, images, these, plans)
            for group in here:
                yield from self._in_crops(images, group, up)

    def _in_crops(
        self, images: Tensor, group: CropUnits, shared: SharedPass | None
    ) -> Iterator[Part]:
        rows = self.batch_size
        if images.device.type == "cpu":
            rows = max(1, min(rows, ROOM // (group.plan.largest * images.element_size())))
        for start in range(0, len(group), rows):
            yield self._batch_in_crops(images, group[start : start + rows], shared)

    def _batch_in_crops(self, images: Tensor, group: CropUnits, shared: SharedPass | None) -> Part:
        """Project units in crops, at most `batch_size` of them."""
        units, plan = group.units, group.plan
        positions = Positions(units.images, units.rows, units.columns)

        def run(node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
            if shared and node in plan.constants:
                return shared.constant(node, positions)
            if node not in plan.localities:
                return None
            taken = crop_inputs(plan, positions, node, values)
            locality = plan.localities[node]
            # What max pooling alone takes has its signal from there alone.
            operations = replace(
                self.operations,
                output=shared.values(plan, node, positions) if shared else None,
                switches=shared.switches(plan, node, positions) if shared else None,
                alone=node in alone,
            )
            output, _ = run_operation(self.graph, operations, node, taken, crop=locality)
            return fill_output(plan, positions, node, output)

        alone = {*plan.pooled.values()}
        pixels = shared.values(plan, self.graph.input, positions) if shared else None
        if pixels is None:
            pixels = crop_pixels(self.graph, plan, images, positions)
        pixels.requires_grad_()
        (output,) = self.graph.walk(pixels, [plan.node], run).values()
        output = self.graph.as_maps(plan.node, output, len(units))
        own = torch.arange(len(units), device=images.device), units.feature_maps
        seed = torch.zeros_like(output)
        seed[own] = output.detach()[own]
        (found,) = torch.autograd.grad(output, pixels, seed)
        starts = plan.nodes[self.graph.input].starts(units.rows, units.columns)
        return Part(group.group, units, group.places, found, seed[own].flatten(), starts)

    def in_whole_images(
        self, images: Tensor, groups: Sequence[tuple[int, Units, Tensor]]
    ) -> Iterator[Part]:
        """Project units of several layers, which share the forward passes of their images.

        Of each group its number, its units, and the places `[U]` of those that are meant.
        """
        groups = [(number, units[places], places) for number, units, places in groups]
        # Each unit takes one backward pass of a row, and a row has up to PASSES of each layer.
        keys = [
            units.images + _ranks(units.images) // PASSES * len(images) for _, units, _ in groups
        ]
        if not any(map(len, keys)):
            return
        rows, inverse, counts = torch.cat(keys).unique(return_inverse=True, return_counts=True)
        of_units = inverse.split([len(units) for _, units, _ in groups])
        # Rows with as many units go together, so that none waits while others take more down.
        batches = [
            some
            for count in counts.unique()
            for some in (counts == count).nonzero()[:, 0].split(self.batch_size)
        ]
        for some in batches:
            here = [
                (number, units[mask], torch.searchsorted(some, of[mask]), places[mask])
                for (number, units, places), of in zip(groups, of_units, strict=True)
                if (mask := torch.isin(of, some)).any()
            ]
            layers = self.graph.nodes({units.layer for _, units, _, _ in here})
            state = self.forward(images[rows[some] % len(images)], layers)
            for number, units, at, places in here:
                output = state.outputs[units.layer]
                # A fully connected layer's units have no row and column.
                unit = (units.feature_maps, units.rows, units.columns)[: output.dim() - 1]
                activations = output[(at, *unit)]
                signal = output.new_zeros(len(units), *output.shape[1:])
                signal[(torch.arange(len(units), device=output.device), *unit)] = activations
                pixels = state.backward(units.layer, signal, at)
                yield Part(number, units, places, pixels, activations, None)
