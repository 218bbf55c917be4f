"""What rectifies: ReLU and its relatives, smooth ones too, and functions of both signs.

What each does to a signal, and why, stands at the head of `held`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zf_lightning.deconv import backward
from zf_lightning.deconv.backward import Method
from zf_lightning.deconv.call import Call, NoRule, Result
from zf_lightning.deconv.locality import Locality

#: Smooth relatives of ReLU, by name.
SMOOTH_RECTIFIERS: Mapping[str, Callable[..., Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "hardswish": F.hardswish,
    "mish": F.mish,
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "softplus": F.softplus,
}
#: Of both signs.
SIGNED = {"tanh": torch.tanh, "softsign": F.softsign}


def rectify_smoothly(
    method: Method,
    values: Tensor,
    function: Callable[[Tensor], Tensor],
    *,
    signed: bool = False,
    output: Tensor | None = None,
) -> Tensor:
    """A smooth relative of ReLU, or a function of both signs: see the head of `held`."""
    if method.name == "gradient":
        return function(values)
    if output is None:
        with torch.no_grad():
            output = function(values)

    def down(signal: Tensor) -> Tensor:
        signal = signal if signed else signal.clamp(min=0)
        if method.name == "deconvnet":
            return signal
        with torch.enable_grad():
            at = values.detach().requires_grad_()
            (slope,) = torch.autograd.grad(function(at).sum(), at)
        return signal * slope

    return backward.with_backward(values, output, down)


def rectify_by_slopes(method: Method, values: Tensor, weight: Tensor) -> Tensor:
    """PReLU: a leaky ReLU with the slopes `weight`, one of all feature maps or one of each."""
    if method.name == "gradient":
        return F.prelu(values, weight)
    with torch.no_grad():
        output = F.prelu(values, weight)
    slopes = weight.view(-1, *(1 for _ in values.shape[2:])) if weight.numel() > 1 else weight

    def down(signal: Tensor) -> Tensor:
        signal = F.prelu(signal, weight)
        return signal if method.name == "deconvnet" else signal.where(values > 0, signal * slopes)

    return backward.with_backward(values, output, down)


def _relu(call: Call, values: Tensor, inplace: bool = False) -> Result:
    output = backward.rectify(call.method, values, output=call.output, alone=call.alone)
    return output, Locality()


def _leaky_relu(
    call: Call, values: Tensor, negative_slope: float = 0.01, inplace: bool = False
) -> Result:
    return backward.rectify(call.method, values, slope=negative_slope), Locality()


def _hardtanh(
    call: Call, values: Tensor, min_val: float = -1, max_val: float = 1, inplace: bool = False
) -> Result:
    """From 0 on it is a ReLU that is cut off."""
    if min_val != 0:
        raise NoRule(f"hardtanh from {min_val} has no backward rule: only from 0 on is it a ReLU.")
    return backward.rectify(call.method, values, top=max_val, output=call.output), Locality()


def _relu6(call: Call, values: Tensor, inplace: bool = False) -> Result:
    return backward.rectify(call.method, values, top=6.0, output=call.output), Locality()


def _smooth_rectifier(call: Call, values: Tensor, *args: Any, **kwargs: Any) -> Result:
    options = {name: value for name, value in kwargs.items() if name != "inplace"}
    numbers = [value for value in args if not isinstance(value, bool)]
    function = SMOOTH_RECTIFIERS[call.name]
    output = rectify_smoothly(
        call.method, values, lambda v: function(v, *numbers, **options), output=call.output
    )
    return output, Locality()


def _signed(call: Call, values: Tensor) -> Result:
    function = SIGNED[call.name]
    return rectify_smoothly(call.method, values, function, signed=True), Locality()


def _prelu(call: Call, values: Tensor, weight: Tensor) -> Result:
    return rectify_by_slopes(call.method, values, weight), Locality()


RULES: Mapping[str, Callable[..., Result]] = {
    "relu": _relu,
    "relu6": _relu6,
    "hardtanh": _hardtanh,
    "leaky_relu": _leaky_relu,
    "prelu": _prelu,
    **dict.fromkeys(SMOOTH_RECTIFIERS, _smooth_rectifier),
    **dict.fromkeys(SIGNED, _signed),
}
