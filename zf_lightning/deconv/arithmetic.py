"""Sums, and products and quotients with numbers, weights and gates."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zf_lightning.deconv import held
from zf_lightning.deconv.call import Call, NoRule, Result
from zf_lightning.deconv.held import held_by, tensors_in
from zf_lightning.deconv.locality import EVERYWHERE, Locality, axes_of, positions_of


def _arithmetic(call: Call, *args: Any, **kwargs: Any) -> Result:
    """Sums of anything; products and quotients with numbers, weights and gates."""
    gates = [value for value in tensors_in((args, kwargs)) if held_by(value)]
    if call.name == "mul" and call.method.name != "gradient":
        args = held.hold_rectified_gate(args)
    tensors = [*tensors_in((args, kwargs))]
    from_image = [value for value in tensors if value.requires_grad]
    output = (getattr(torch, call.name) if kwargs else ARITHMETIC[call.name])(*args, **kwargs)
    if call.name not in ("add", "sub", "rsub") and call.method.name != "gradient":
        signals = [value for value in from_image if not getattr(value, "statistic", False)]
        divides = call.name != "mul" and any(value is args[1] for value in signals)
        if len(signals) > 1 or divides:
            raise NoRule(
                f"{call.name} of two values from the image, neither of which is a gate "
                f"({', '.join(sorted(held.GATES))}, or the only one that a rectifier gives), has "
                "no backward rule."
            )
    computed = [value for value in tensors if value.requires_grad or held_by(value)]
    axes = axes_of(from_image[0])
    by_position = gated = False
    if axes is not None:
        others = [
            value
            for value in computed
            if axes_of(value) != axes
            or value.dim() != output.dim()
            or positions_of(value, axes) != positions_of(output, axes)
        ]
        gated = bool(others) and all(
            any(value is gate for gate in gates)
            and value.dim() == output.dim()
            and positions_of(value, axes) == (1, 1)
            for value in others
        )
        by_position = gated or not others
    of_one_shape = {value.shape for value in from_image} == {output.shape}
    if not by_position and not of_one_shape:
        return output, Locality(EVERYWHERE, in_crops=False)
    # A weight that differs between positions would have to be cropped too.
    weights = [value for value in tensors if all(value is not other for other in computed)]
    from_right = [axis - output.dim() for axis in axes or ()]
    everywhere_one = all(
        value.dim() < -axis or value.shape[axis] == 1 for value in weights for axis in from_right
    )
    return output, Locality(in_crops=by_position and everywhere_one, gated=gated)


def _sum_with_product(
    call: Call, values: Tensor, one: Tensor, other: Tensor, *, value: float = 1
) -> Result:
    one, at_product = one if value == 1 else value * one, Locality()
    if any(factor.requires_grad or held_by(factor) for factor in (one, other)):
        product, at_product = _arithmetic(replace(call, name="mul"), one, other)
    else:
        product = one * other
    output, locality = _arithmetic(replace(call, name="add"), values, product)
    return output, locality if at_product == Locality() else at_product


ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "truediv": operator.truediv,
    "rsub": lambda values, other: other - values,
}
RULES: Mapping[str, Callable[..., Result]] = {
    **dict.fromkeys(ARITHMETIC, _arithmetic),
    "addcmul": _sum_with_product,
}
