"""Projection: images go up the graph with autograd, and the units' signals come down it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from zf_lightning.deconv.crops import CropPlan, Positions, crop_inputs, crop_pixels, fill_output
from zf_lightning.deconv.locality import Locality, combined
from zf_lightning.deconv.operations import NoRule, Operations, Result
from zf_lightning.deconv.precision import full_precision
from zf_lightning.deconv.units import Units
from zf_lightning.errors import UserError
from zf_lightning.graph.network import Graph
from zf_lightning.graph.operations import QUERIES, describe, evaluate, fill_in, kind_of
from zf_lightning.models.evaluation import evaluation_mode

#: Most backward passes that share one forward pass of an image. A row of the batch is an image, and
#: each pass takes one unit of it down: with more rows for the same image a pass does more at once,
#: with fewer the forward pass is repeated less often.
PASSES = 4
#: Inside a module its properties too are read (`__get__`), by code that was not traced.
QUESTIONS = QUERIES | {"is_contiguous", "__len__", "__get__"}


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
    #: Shape of each node's output for one image, `(C, H, W)` or `(C,)`, and of the image.
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


def _ranks(values: Tensor) -> Tensor:
    """`[U]`: of each value, how many equal ones come before it."""
    order = values.argsort(stable=True)
    ordered = values[order]
    firsts = torch.searchsorted(ordered, ordered)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(values), device=values.device) - firsts
    return ranks


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
    """

    graph: Graph
    operations: Operations
    batch_size: int

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
                return evaluate(self.graph.network, node, values)
            shapes[node] = tuple(output.shape[1:])
            return output

        pixels = (images.clone() if images.is_inference() else images.detach()).requires_grad_()
        values = self.graph.walk(pixels, layers.values(), run)
        if refused:
            first, *others = refused
            also = f" Nor have: {', '.join(others)}." if others else ""
            raise UserError(f"{refused[first]}{also}")
        found = {layer: values[node] for layer, node in layers.items()}
        outputs = {layer: output.detach() for layer, output in found.items()}
        return ForwardState(outputs, dict(layers), localities, shapes, pixels, found)

    def in_crops(
        self, images: Tensor, plan: CropPlan, number: int, units: Units, places: Tensor
    ) -> Part:
        """Project units of a layer, each in the crop that it sees; at most `batch_size` of them."""
        positions = Positions(units.images, units.rows, units.columns)

        def run(node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
            taken = crop_inputs(plan, positions, node, values)
            locality = plan.localities[node]
            output, _ = run_operation(self.graph, self.operations, node, taken, crop=locality)
            return fill_output(plan, positions, node, output)

        pixels = crop_pixels(self.graph, plan, images, positions).requires_grad_()
        (output,) = self.graph.walk(pixels, [plan.node], run).values()
        own = torch.arange(len(units), device=images.device), units.feature_maps
        seed = torch.zeros_like(output)
        seed[own] = output.detach()[own]
        (found,) = torch.autograd.grad(output, pixels, seed)
        starts = plan.nodes[self.graph.input].starts(units.rows, units.columns)
        return Part(number, units, places, found, seed[own].flatten(), starts)

    def in_whole_images(
        self, images: Tensor, groups: Sequence[tuple[int, Units]]
    ) -> Iterator[Part]:
        """Project units of several layers, which share the forward passes of their images."""
        # Each unit takes one backward pass of a row, and a row has up to PASSES of each layer.
        keys = [units.images + _ranks(units.images) // PASSES * len(images) for _, units in groups]
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
                output = state.outputs[units.layer]
                # A fully connected layer's units have no row and column.
                unit = (units.feature_maps, units.rows, units.columns)[: output.dim() - 1]
                activations = output[(at, *unit)]
                signal = output.new_zeros(len(units), *output.shape[1:])
                signal[(torch.arange(len(units), device=output.device), *unit)] = activations
                pixels = state.backward(units.layer, signal, at)
                yield Part(number, units, places, pixels, activations, None)


def run_operation(
    graph: Graph,
    operations: Operations,
    node: fx.Node,
    values: Mapping[fx.Node, Any],
    *,
    crop: Locality | None = None,
) -> Result:
    """Run one node of a graph, given the values of the nodes that it takes.

    `crop` is the operation's locality if the values are crops of feature maps.
    Raises UserError for an operation that has no backward rule.
    """
    arguments, options = fill_in(node, values)
    try:
        if node.op == "call_module":
            module = graph.network.get_submodule(str(node.target))
            return run_module(operations, module, arguments, options, crop)
        return operations.run_function(node.target, arguments, options, crop)
    except UserError as problem:
        raise UserError(f"{describe(graph.network, node)}: {problem}") from problem
    except TypeError as problem:
        raise UserError(f"{describe(graph.network, node)} has no rule: {problem}.") from problem


def run_module(
    operations: Operations,
    module: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    crop: Locality | None,
) -> Result:
    """Run a module on values of the image; one that is no operation itself, call by call."""
    found = operations.run_module(module, args, kwargs, crop)
    if found is not None:
        return found
    with _SeenCalls(operations, crop, args) as seen:
        output = module(*args, **kwargs)
    if not isinstance(output, Tensor) or not seen.depends_on_image(output):
        raise UserError("its output is computed by code that cannot be followed.")
    return output, combined(seen.localities)


class _SeenCalls(TorchFunctionMode):
    """Runs the operations inside a module by their rules."""

    def __init__(self, operations: Operations, crop: Locality | None, inputs: Sequence[Any]):
        super().__init__()
        self.operations, self.crop = operations, crop
        self.localities: list[Locality] = []
        self._with_gradient = torch.is_grad_enabled()
        #: Kept alive, so that no other tensor gets the same id.
        self._from_image = {id(tensor): tensor for tensor in _tensors(inputs)}

    def depends_on_image(self, tensor: Tensor) -> bool:
        return id(tensor) in self._from_image

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not any(map(self.depends_on_image, _tensors((args, kwargs)))):
            return func(*args, **kwargs)
        if torch.is_grad_enabled() != self._with_gradient:
            raise NoRule("an autograd function of the network's own has no backward rule.")
        if getattr(func, "__name__", "") in QUESTIONS:
            answer = func(*args, **kwargs)
            if [*_tensors(answer)]:
                raise NoRule("a property of a tensor that is a tensor has no backward rule.")
            return answer
        args, kwargs = (self._without_gradient(values) for values in (args, kwargs))
        output, locality = self.operations.run_function(func, args, kwargs, self.crop)
        self._from_image[id(output)] = output
        self.localities.append(locality)
        return output

    def _without_gradient(self, values: Any) -> Any:
        """Weights need no gradient: autograd would keep the feature maps for it."""
        if isinstance(values, Tensor):
            return values if self.depends_on_image(values) else values.detach()
        if isinstance(values, dict):
            return {key: self._without_gradient(value) for key, value in values.items()}
        if isinstance(values, list | tuple) and [*_tensors(values)]:
            return [self._without_gradient(value) for value in values]
        return values


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(tuple(values.values()))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)
