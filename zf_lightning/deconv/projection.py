"""Projection: images go up the graph with autograd, and the units' signals come down it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from zf_lightning.deconv.call import NoRule, Result
from zf_lightning.deconv.crops import CropPlan, Positions, crop_inputs, crop_pixels, fill_output
from zf_lightning.deconv.held import LINEAR, held_by, tensors_in
from zf_lightning.deconv.locality import (
    EVERYWHERE,
    Locality,
    axes_of,
    combined,
    positions_of,
)
from zf_lightning.deconv.operations import Operations
from zf_lightning.deconv.precision import full_precision
from zf_lightning.deconv.units import Units
from zf_lightning.errors import UserError
from zf_lightning.graph.inside import LayersInside
from zf_lightning.graph.network import Graph
from zf_lightning.graph.operations import (
    NEW_TENSORS,
    QUERIES,
    Hooks,
    describe,
    evaluate,
    fill_in,
    kind_of,
)
from zf_lightning.models.evaluation import evaluation_mode

#: Most backward passes that share one forward pass of an image. A row of the batch is an image, and
#: each pass takes one unit of it down: with more rows for the same image a pass does more at once,
#: with fewer the forward pass is repeated less often.
PASSES = 4
#: Inside a module its properties too are read (`__get__`), by code that was not traced.
QUESTIONS = QUERIES | {"is_contiguous", "__len__", "__get__"}
#: What makes numbers of a tensor's values.
VALUES = frozenset({"__bool__", "__int__", "__float__", "__index__", "item", "tolist", "numpy"})


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
    axes = axes_of(first)
    if axes is None or isinstance(output, dict):
        return locality, tuple(first.shape[1:])
    rows, columns = positions_of(first, axes)
    return replace(locality, axes=axes), (first[0].numel() // (rows * columns), rows, columns)


def _units_of(layer: str, output: Any, images: int) -> Tensor:
    """A layer's output, if it has units of each image that a signal can go down from."""
    if not isinstance(output, Tensor) or output.dim() < 2 or len(output) != images:
        found = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UserError(
            f"{layer} gives {found} for {images} images: it has no units of each image."
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
        output = self.graph.as_maps(plan.node, output, len(units))
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
        if isinstance(node.target, Hooks):
            return _run_hooks(operations, node.target, arguments, crop)
        if isinstance(node.target, LayersInside):
            return _run_inside(operations, node.target, arguments, options)
        if operations.is_unknown(node.target):
            return run_calls(operations, node.target, arguments, options, crop)
        return operations.run_function(node.target, arguments, options, crop)
    except UserError as problem:
        raise UserError(f"{describe(graph.network, node)}: {problem}") from problem
    except TypeError as problem:
        raise UserError(f"{describe(graph.network, node)} has no rule: {problem}.") from problem
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as problem:  # Images that are too small, for one.
        raise UserError(f"{describe(graph.network, node)} cannot be run: {problem}.") from problem


def run_module(
    operations: Operations,
    module: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    crop: Locality | None,
) -> Result:
    """Run a module on values of the image; one that is no operation itself, call by call."""
    found = operations.run_module(module, args, kwargs, crop)
    return found or run_calls(operations, module, args, kwargs, crop)


def _run_hooks(
    operations: Operations, hooks: Hooks, args: Sequence[Tensor], crop: Locality | None
) -> Result:
    output, locality = run_calls(operations, hooks, args, {}, crop)
    # They may have used what the module was given, of which crops are larger.
    in_crops = output is args[0] or (hooks.before and locality.in_crops)
    return output, replace(locality, in_crops=in_crops)


def _run_inside(
    operations: Operations, layers: LayersInside, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Result:
    with _SeenCalls(operations, None, (args, kwargs)) as seen:
        found = layers(*args, **kwargs)
    for layer in [layer for layer, output in found.items() if not seen.depends_on_image(output)]:
        del found[layer]
    return found, Locality(EVERYWHERE, in_crops=False)


def run_calls(
    operations: Operations,
    function: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    crop: Locality | None,
) -> Result:
    """Run a function that is no operation itself, call by call."""
    with _SeenCalls(operations, crop, (args, kwargs)) as seen:
        output = function(*args, **kwargs)
    found = [*tensors_in(output)]
    if not found or not all(map(seen.depends_on_image, found)):
        raise UserError("its output is computed by code that cannot be followed.")
    seen.check_not_overwritten(found)
    locality = combined(seen.localities)
    # What asks for sizes may do something else for those of a crop.
    return output, replace(locality, in_crops=False) if seen.asked_for_sizes else locality


class _SeenCalls(TorchFunctionMode):
    """Runs the operations inside a module by their rules."""

    def __init__(self, operations: Operations, crop: Locality | None, inputs: Any):
        super().__init__()
        self.operations, self.crop = operations, crop
        self.localities: list[Locality] = []
        self._with_gradient = torch.is_grad_enabled()
        #: Kept alive, so that no other tensor gets the same id.
        self._from_image = {
            id(tensor): tensor
            for tensor in tensors_in(inputs)
            if tensor.requires_grad or held_by(tensor)
        }
        self._overwritten: dict[int, Tensor] = {}
        self.asked_for_sizes = False

    def depends_on_image(self, tensor: Tensor) -> bool:
        return id(tensor) in self._from_image

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not any(map(self.depends_on_image, tensors_in((args, kwargs)))):
            return func(*args, **kwargs)
        if torch.is_grad_enabled() != self._with_gradient:
            raise NoRule("an autograd function of the network's own has no backward rule.")
        name = getattr(func, "__name__", "")
        if name == "__get__":
            # A property: a number, or the tensor in another shape, as its transpose `mT`.
            name = getattr(getattr(func, "__self__", None), "__name__", "")
            if name not in LINEAR:
                self.asked_for_sizes |= name == "shape"
                return self._answer(func, args, kwargs)
            func = getattr(torch.Tensor, name).__get__
        elif name in NEW_TENSORS:
            return func(*args, **kwargs)
        elif name in VALUES:
            raise NoRule(
                "what it does depends on values of the images, each of which would go its own way."
            )
        elif name in QUESTIONS:
            self.asked_for_sizes |= name in ("size", "numel", "__len__")
            return self._answer(func, args, kwargs)
        self.check_not_overwritten(tensors_in((args, kwargs)))
        given = [*tensors_in(args[:1])]
        args, kwargs = (self._without_gradient(values) for values in (args, kwargs))
        output, locality = self.operations.run_function(func, args, kwargs, self.crop)
        for tensor in tensors_in(output):
            self._from_image[id(tensor)] = tensor
        if name.endswith("_") and not name.startswith("__") and given:
            # What was asked for is a new value; the old one must not be read again.
            self._overwritten[id(given[0])] = given[0]
        self.localities.append(locality)
        return output

    def check_not_overwritten(self, tensors: Iterable[Tensor]) -> None:
        """Raise NoRule for a tensor whose new value, computed in place, is another tensor here."""
        if any(id(tensor) in self._overwritten for tensor in tensors):
            raise NoRule(
                "a tensor that is changed in place and then read by its old name has none."
            )

    def _answer(self, func: Any, args: Any, kwargs: Any) -> Any:
        answer = func(*args, **kwargs)
        if [*tensors_in(answer)]:
            raise NoRule("a property of a tensor that is a tensor has no backward rule.")
        return answer

    def _without_gradient(self, values: Any) -> Any:
        """Weights need no gradient: autograd would keep the feature maps for it."""
        if isinstance(values, Tensor):
            return values if self.depends_on_image(values) else values.detach()
        if isinstance(values, dict):
            return {key: self._without_gradient(value) for key, value in values.items()}
        if isinstance(values, list | tuple) and [*tensors_in(values)]:
            return [self._without_gradient(value) for value in values]
        return values
