"""Layout: which axes of a value are the rows and the columns of feature maps.

Feature maps are `[N, C, H, W]`, but a network may put their channels last, or in groups. A value
remembers where its rows and columns then are, so that what works on single positions is known to,
and can be run on crops. An operation that nothing is known of forgets them, and is not.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from zf_lightning.deconv.call import Call, Result
from zf_lightning.deconv.held import held_by, tensors_in
from zf_lightning.deconv.locality import STANDARD, Locality, Pair, axes_of

#: Operations that only move values: what they do to positions is seen by moving these.
MOVES = frozenset(
    {
        *("permute", "transpose", "swapaxes", "swapdims", "movedim", "mT", "view", "reshape"),
        *("flatten", "unflatten", "unsqueeze", "squeeze", "chunk", "split", "tensor_split"),
        *("unbind", "stack", "cat", "concat", "concatenate", "getitem", "select", "narrow", "flip"),
        *("roll", "index_select", "channel_shuffle", "native_channel_shuffle"),
    }
)


def placed(call: Call, args: Any, kwargs: Any, result: Result, *, any_layout: bool) -> Result:
    """The result of an operation on values of whole images, which knows where its positions are.

    Args:
        any_layout: whether the operation, if it can be run on crops, can so in any layout.
    """
    output, locality = result
    inputs = [
        value
        for value in tensors_in((args, kwargs))
        if held_by(value) or (value.requires_grad and not isinstance(value, nn.Parameter))
    ]
    layouts = {axes_of(value) for value in inputs}
    if len(layouts) != 1:
        return output, replace(locality, in_crops=False)
    (axes,) = layouts
    if axes is None:
        return result
    if call.name in MOVES and isinstance(args[0], Tensor | list | tuple):
        found = _moved(call.native, args, kwargs, inputs, axes)
        if found is None:
            return result
        for value, new in zip(tensors_in(output), found, strict=True):
            value.position_axes = new  # type: ignore[attr-defined]
        return output, Locality()
    if axes == STANDARD:
        return result
    if not (any_layout and locality.in_crops):
        return output, replace(locality, in_crops=False)
    for value in tensors_in(output):
        value.position_axes = axes  # type: ignore[attr-defined]
    return result


def _moved(
    function: Callable[..., Any], args: Any, kwargs: Any, inputs: list[Tensor], axes: Pair
) -> list[Pair] | None:
    """The axes of rows and columns of each tensor that comes out; None if they are no longer such.

    In the place of each value its own row is moved, and its column, and its image.
    """
    found: list[list[int]] = []
    sizes = {tuple(value.shape[axis] for axis in axes) for value in inputs}
    if len(sizes) > 1 or 1 in (*next(iter(sizes)), len(inputs[0])):
        return None  # A single row cannot be told from other axes.
    for axis in (0, *axes):

        def index(value: Tensor, axis: int = axis) -> Tensor:
            shape = [-1 if at == axis else 1 for at in range(value.dim())]
            return torch.arange(value.shape[axis]).view(shape).expand(value.shape).contiguous()

        def moved(values: Any, index: Callable[[Tensor], Tensor] = index) -> Any:
            if isinstance(values, Tensor):
                return index(values) if any(values is one for one in inputs) else values
            if isinstance(values, dict):
                return {key: moved(value) for key, value in values.items()}
            if isinstance(values, list | tuple):
                return (list if isinstance(values, list) else tuple)(map(moved, values))
            return values

        outputs = None
        with suppress(RuntimeError, TypeError, IndexError), torch.no_grad():
            outputs = function(*moved(args), **moved(kwargs))
        if outputs is None:
            return None
        places = [_place(value) for value in tensors_in(outputs)]
        if None in places or (axis == 0 and any(places)):
            return None
        found.append(places)  # type: ignore[arg-type]
    return [(row, column) for row, column in zip(*found[1:], strict=True)]


def _place(index: Tensor) -> int | None:
    """The axis along which a tensor counts from 0; it must be the same along all others."""
    for axis, size in enumerate(index.shape):
        shape = [-1 if at == axis else 1 for at in range(index.dim())]
        if size > 1 and bool((index == torch.arange(size).view(shape)).all()):
            return axis
    return None
