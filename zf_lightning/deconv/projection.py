"""Projection: images go up the graph with autograd, and the units' signals come down it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from zf_lightning.deconv.crops import CropPlan, Positions, crop_inputs, crop_pixels, fill_output
from zf_lightning.deconv.locality import Locality
from zf_lightning.deconv.operations import Operations
from zf_lightning.deconv.precision import full_precision
from zf_lightning.deconv.units import Units
from zf_lightning.errors import UserError
from zf_lightning.graph.network import Graph
from zf_lightning.graph.operations import describe, evaluate, fill_in, kind_of
from zf_lightning.models.evaluation import evaluation_mode

#: Most backward passes that share one forward pass of an image. A row of the batch is an image, and
#: each pass takes one unit of it down: with more rows for the same image a pass does more at once,
#: with fewer the forward pass is repeated less often.
PASSES = 4


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

    #: Height and width of the images.
    input_size: tuple[int, int]
    #: `[N, C, H, W]` or `[N, C]` for each layer, by the names that were asked for.
    outputs: dict[str, Tensor]
    nodes: dict[str, fx.Node] = field(repr=False)
    localities: dict[fx.Node, Locality] = field(repr=False)
    #: Shape of each node's output for one image, `(C, H, W)` or `(C,)`.
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
        for number in range(int(passes.max()) + 1 if len(passes) else 0):
            rows = (passes == number).nonzero()[:, 0]
            seed = torch.zeros_like(output)
            seed[images[rows]] = signal[rows]
            (found,) = torch.autograd.grad(output, self._pixels, seed, retain_graph=True)
            pixels[rows] = found[images[rows]]
        return pixels


def _ranks(values: Tensor) -> Tensor:
    """`[U]`: of each value, how many equal ones come before it."""
    order = values.argsort(stable=True)
    ordered = values[order]
    firsts = torch.searchsorted(ordered, ordered)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(values), device=values.device) - firsts
    return ranks


@dataclass(frozen=True)
class Projector:
    """Runs images up a graph and takes units down it, in full precision.

    Args:
        graph: of the network.
        operations: how each operation is run, and goes back.
        batch_size: most rows of a batch.
    """

    graph: Graph
    operations: Operations
    batch_size: int

    def forward(self, images: Tensor, layers: Mapping[str, fx.Node]) -> ForwardState:
        """Run images `[N, C, H, W]` up to `layers`.

        Raises UserError for an operation on the way that has no backward rule.
        """
        localities: dict[fx.Node, Locality] = {}
        shapes: dict[fx.Node, tuple[int, ...]] = {}

        refused: dict[str, UserError] = {}

        def run(node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
            try:
                output, localities[node] = run_operation(self.graph, self.operations, node, values)
            except UserError as problem:
                # Go on, to name all that have none.
                refused.setdefault(kind_of(self.graph.network, node), problem)
                return evaluate(self.graph.network, node, values)
            shapes[node] = tuple(output.shape[1:])
            return output

        with self._recording(images) as pixels:
            values = self.graph.walk(pixels, layers.values(), run)
        if refused:
            first, *others = refused
            also = f" Nor have: {', '.join(others)}." if others else ""
            raise UserError(f"{refused[first]}{also}")
        found = {layer: values[node] for layer, node in layers.items()}
        size = (images.shape[2], images.shape[3])
        outputs = {layer: output.detach() for layer, output in found.items()}
        return ForwardState(size, outputs, dict(layers), localities, shapes, pixels, found)

    def in_crops(
        self, images: Tensor, plan: CropPlan, number: int, units: Units, places: Tensor
    ) -> Part:
        """Project units of a layer, each in the crop that it sees; at most `batch_size` of them."""
        positions = Positions(units.images, units.rows, units.columns)

        def run(node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
            taken = crop_inputs(self.graph, plan, positions, node, values)
            locality = plan.localities[node]
            output, _ = run_operation(self.graph, self.operations, node, taken, crop=locality)
            return fill_output(plan, positions, node, output)

        with self._recording(crop_pixels(self.graph, plan, images, positions)) as pixels:
            (output,) = self.graph.walk(pixels, [plan.node], run).values()
            each = torch.arange(len(units), device=images.device)
            seed = torch.zeros_like(output)
            seed[each, units.feature_maps] = output.detach()[each, units.feature_maps]
            (found,) = torch.autograd.grad(output, pixels, seed)
        activations = seed[each, units.feature_maps].flatten()
        starts = plan.nodes[self.graph.input].starts(units.rows, units.columns)
        return Part(number, units, places, found, activations, starts)

    def in_whole_images(
        self, images: Tensor, groups: Sequence[tuple[int, Units]]
    ) -> Iterator[Part]:
        """Project units of several layers, which share the forward passes of their images."""
        # Each unit takes one backward pass of a row, and a row has up to PASSES of each layer.
        ranks = [_ranks(units.images) for _, units in groups]
        keys = [
            units.images + rank // PASSES * len(images)
            for (_, units), rank in zip(groups, ranks, strict=True)
        ]
        if not keys:
            return
        rows, inverse, counts = torch.cat(keys).unique(return_inverse=True, return_counts=True)
        of_units = inverse.split([len(units) for _, units in groups])
        # Rows with as many units go together, so that none waits while others take more down.
        batches = [
            some
            for count in counts.unique()
            for some in (counts == count).nonzero()[:, 0].split(self.batch_size)
        ]
        for some in batches:
            here = [
                (number, units[mask], torch.searchsorted(some, of[mask]), mask.nonzero()[:, 0])
                for (number, units), of in zip(groups, of_units, strict=True)
                if (mask := torch.isin(of, some)).any()
            ]
            layers = self.graph.nodes({units.layer for _, units, _, _ in here})
            state = self.forward(images[rows[some] % len(images)], layers)
            for number, units, at, places in here:
                yield Part(number, units, places, *self._down(state, units, at), None)

    def _down(self, state: ForwardState, units: Units, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The projections `[U, C, H, W]` of units in rows of a forward pass, and activations."""
        output = state.outputs[units.layer]
        # A fully connected layer's units have no row and column.
        at = (units.feature_maps, units.rows, units.columns)[: output.dim() - 1]
        activations = output[(rows, *at)]
        signal = output.new_zeros(len(units), *output.shape[1:])
        signal[(torch.arange(len(units), device=output.device), *at)] = activations
        with full_precision(output.device):
            return state.backward(units.layer, signal, rows), activations

    @contextmanager
    def _recording(self, images: Tensor) -> Iterator[Tensor]:
        """The images as what autograd goes back to."""
        with (
            full_precision(images.device),
            evaluation_mode(self.graph.network),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            if images.is_inference():
                images = images.clone()
            yield images.detach().requires_grad_()


def run_operation(
    graph: Graph,
    operations: Operations,
    node: fx.Node,
    values: Mapping[fx.Node, Any],
    *,
    crop: Locality | None = None,
) -> tuple[Tensor, Locality]:
    """Run one node of a graph, given the values of the nodes that it takes.

    Raises UserError for an operation that has no backward rule.
    """
    arguments, options = fill_in(node, values)
    try:
        if node.op == "call_module":
            module = graph.network.get_submodule(str(node.target))
            return operations.run_module(module, arguments, options, crop)
        return operations.run_function(node.target, arguments, options, crop)
    except UserError as problem:
        raise UserError(f"{describe(graph.network, node)}: {problem}") from problem
    except TypeError as problem:
        raise UserError(f"{describe(graph.network, node)} has no rule: {problem}.") from problem
