"""Operations of a network run one at a time, also those inside a module."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from zf_lightning.deconv.call import NoRule, Result
from zf_lightning.deconv.held import LINEAR, held_by, tensors_in
from zf_lightning.deconv.locality import EVERYWHERE, Locality, combined
from zf_lightning.deconv.operations import Operations
from zf_lightning.errors import UserError
from zf_lightning.graph.inside import LayersInside
from zf_lightning.graph.network import Graph
from zf_lightning.graph.operations import NEW_TENSORS, QUERIES, Hooks, describe, fill_in

#: Inside a module its properties too are read (`__get__`), by code that was not traced.
QUESTIONS = QUERIES | {"is_contiguous", "__len__", "__get__"}
#: What makes numbers of a tensor's values.
VALUES = frozenset({"__bool__", "__int__", "__float__", "__index__", "item", "tolist", "numpy"})


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
