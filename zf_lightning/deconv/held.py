"""What is held, what is linear and what rectifies, beyond the paper's network.

The paper's deconvnet has three kinds of steps on the way down, and everything else is taken as one
of them (`Method.name`: `deconvnet` and `guided`; `gradient` is the plain derivative of everything,
nothing held):

- *What routes or scales is held* as the forward pass left it, like the switches of a pooling layer
  (Sec. 2.1). A gate, which is a bounded function (`GATES`: sigmoid, softmax) of the image, is a
  constant, and of its product with another value the signal goes to that value. Where neither
  factor is such, the only one that has just left a rectifier is the gate (GELU and SiLU in gated
  linear units, Shazeer, GLU Variants Improve Transformer, 2020). So is an attention weight, a
  function of queries and keys: the signal goes to the values. Mean and variance of a normalisation
  are constants; its scale multiplies the signal, as that of batch normalisation does. This is how
  layer-wise relevance propagation treats gates (Arras et al., Explaining Recurrent Neural Network
  Predictions in Sentiment Analysis, 2017: the gate gets no relevance) and attention and layer
  normalisation (Ali et al., XAI for Transformers: Better Explanations through Conservative
  Propagation, 2022). `norm=jacobian` takes the derivative of a normalisation instead.
- *What is linear* goes back by its transpose, which is its derivative.
- *What rectifies* rectifies the signal: `deconvnet` keeps its positive part, as of a ReLU; `guided`
  multiplies that with the derivative at the forward value too (Springenberg et al., Striving for
  Simplicity, 2015, for ReLUs, whose derivative is 0 or 1). SiLU, GELU, Hardswish, Mish, ELU and
  softplus are smooth ReLUs: feature maps behind them are positive but for a small part. So is the
  square of a ReLU, unless a mean is taken of it: then it is a statistic. PReLU is a leaky ReLU, and
  keeps its slope for a negative signal as that does.

Captum's `NeuronDeconvolution` and `NeuronGuidedBackprop` and zennit's composites for these methods
change modules of ReLU only, and take the derivative of everything that is named here.

Tanh and softsign have feature maps of both signs, and nothing to rectify: `deconvnet` passes the
signal on, and `guided` multiplies it with the derivative. That they saturate does not apply to a
signal, which has no scale of its own (as with ReLU6).

A held value must end as a factor. Where it is added to others, the network may do so inside a gate,
as with the biases of attention weights that depend on the image, and the sum is held too. Otherwise
it has used a gate as an activation, and what is above is refused rather than left out of a
projection without a word.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zf_lightning.deconv.backward import Method
from zf_lightning.deconv.call import Call, NoRule, Result, derivative
from zf_lightning.deconv.locality import EVERYWHERE, Locality, along
from zf_lightning.deconv.rectifiers import rectify_smoothly

#: Functions of the image whose values are factors.
GATES = frozenset({"sigmoid", "hardsigmoid", "softmax"})
#: What statistics of feature maps, by which they are divided, are made of.
STATISTICS = frozenset({"norm", "vector_norm", "std", "var", "pow", "square", "sqrt", "rsqrt"})
#: Products: of values and gates, of values and attention weights, of queries and keys.
MATRIX_PRODUCTS = frozenset({"matmul", "bmm", "einsum"})
FACTORS = MATRIX_PRODUCTS | {"addcmul", "mul", "div", "truediv", "scaled_dot_product_attention"}
#: Linear, or choosing among values, whose derivative is the transpose with the choice held.
LINEAR = frozenset(
    {
        *("permute", "transpose", "swapaxes", "swapdims", "movedim", "T", "mT", "t", "unflatten"),
        *("split", "chunk", "unbind", "tensor_split", "stack", "roll", "flip", "expand"),
        *("expand_as", "repeat", "repeat_interleave", "tile", "narrow", "select", "unfold", "fold"),
        *("index_select", "gather", "view_as", "reshape_as", "to", "type_as", "float", "double"),
        *("interpolate", "upsample", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"),
        *("native_channel_shuffle", "sum", "cumsum", "conv1d", "conv3d", "conv_transpose2d"),
        *("amax", "amin", "max", "min", "maximum", "minimum", "avg_pool1d", "adaptive_avg_pool1d"),
        *("masked_fill", "where", "half", "bfloat16"),
    }
)


def hold(output: Any, name: str, refusal: str | None = None) -> Any:
    """The values as constants, which remember what they are of: `held_by`.

    With a `refusal` they may only be part of a gate, and it says why.
    """
    if isinstance(output, tuple | list):
        return type(output)(hold(part, name, refusal) for part in output)
    if isinstance(output, Tensor):
        remembered, output = output.__dict__, output.detach()
        output.__dict__.update(remembered)
        output.held_by, output.refusal = name, refusal
    return output


def held_by(value: Tensor) -> str | None:
    """The operation that made a value a constant; None of weights, and of what carries a signal."""
    return getattr(value, "held_by", None)


def hold_rectified_gate(factors: tuple[Any, ...]) -> tuple[Any, ...]:
    """The factors of a product, of which the only one that a rectifier gave is held as a gate."""
    from_image = [value for value in factors if isinstance(value, Tensor) and value.requires_grad]
    gates = [value for value in from_image if getattr(value, "rectified", False)]
    if len(from_image) != 2 or len(gates) != 1:
        return factors
    return tuple(hold(value, "a gate") if value is gates[0] else value for value in factors)


def among(name: str, args: Sequence[Any], kwargs: Any) -> tuple[bool, str | None]:
    """Whether an operation gives what is held, as all or some of what it takes is.

    And why that may only be part of a gate: because of a held value that is not a factor.
    Raises NoRule where such a value is a factor of what carries a signal.
    """
    if name in ("expand_as", "view_as", "reshape_as", "type_as"):
        args, kwargs = args[:1], {}  # Of the other only the shape or the type is asked.
    tensors = [*tensors_in((args, kwargs))]
    refusal = next((r for r in (getattr(t, "refusal", None) for t in tensors) if r), None)
    if not any(tensor.requires_grad for tensor in tensors):
        return True, None if name in GATES else refusal
    if name in FACTORS:
        if refusal:
            raise NoRule(refusal)
        return False, None
    for tensor in tensors:
        what = held_by(tensor)
        if what is not None and tensor.is_floating_point():
            return True, refusal or (
                f"{name} takes what {what} gives, which is held like a switch and may only be a "
                "factor, as a gate or an attention weight is: as an activation it has no backward "
                f"rule; write one and pass it as Deconvnet(network, rules={{{what}: ...}})."
            )
    return False, None


def of_statistics(name: str, args: Any, kwargs: Any) -> bool:
    """Whether a value is computed from statistics alone, of which `norm=jacobian` holds none."""
    from_image = [value for value in tensors_in((args, kwargs)) if value.requires_grad]
    return bool(from_image) and (
        name in STATISTICS or all(getattr(value, "statistic", False) for value in from_image)
    )


def as_statistic(method: Method, values: Tensor) -> Tensor:
    """What a mean is taken of: squares are held, for it is a statistic."""
    if method.name == "gradient" or method.norm == "jacobian":
        return values
    return values.detach() if getattr(values, "squared", False) else values


def tensors_in(values: Any) -> Iterator[Tensor]:
    """All tensors among arguments."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from tensors_in(tuple(values.values()))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors_in(value)


def _gate(call: Call, values: Tensor, *args: Any, **kwargs: Any) -> Result:
    # In place it would change the values that are shown.
    function = getattr(F, call.name)
    args = tuple(value for value in args if not isinstance(value, bool))
    kwargs.pop("inplace", None)
    if call.method.name == "gradient":
        return function(values, *args, **kwargs), Locality(in_crops=False)
    return hold(function(values.detach(), *args, **kwargs), call.name), Locality(in_crops=False)


def _statistic(call: Call, values: Tensor, *args: Any, **kwargs: Any) -> Result:
    locality = Locality(EVERYWHERE, in_crops=False)
    if call.name in ("pow", "square", "sqrt", "rsqrt"):
        locality = Locality()
    elif kwargs.get("keepdim"):
        dim = kwargs.get("dim", args[0] if args else None)
        dims = range(values.dim()) if dim is None else [dim] if isinstance(dim, int) else dim
        locality = along(values, dims)
    if call.method.name == "gradient" or call.method.norm == "jacobian":
        return call.native(values, *args, **kwargs), locality
    squares = call.name == "square" or (call.name == "pow" and [*args, *kwargs.values()] == [2])
    if squares and getattr(values, "rectified", False):
        output = rectify_smoothly(call.method, values, torch.square)
        output.rectified = output.squared = True  # type: ignore[attr-defined]
        return output, locality
    return hold(call.native(values.detach(), *args, **kwargs), call.name), locality


def _gated_linear(call: Call, values: Tensor, dim: int = -1) -> Result:
    """The first half of the values; the second is its gate."""
    if call.method.name == "gradient":
        return derivative(call, values, dim)
    part, gate = values.chunk(2, dim)
    return part * gate.detach().sigmoid(), Locality(EVERYWHERE, in_crops=False)


def _matrix_product(call: Call, *args: Any, **kwargs: Any) -> Result:
    """Of queries and keys it is held, whatever comes then; of weights and values it is linear."""
    from_image = [value for value in tensors_in((args, kwargs)) if value.requires_grad]
    if len(from_image) > 1 and call.method.name != "gradient":
        args = [_detached(value) for value in args]  # type: ignore[assignment]
        return hold(call.native(*args, **kwargs), call.name), Locality(EVERYWHERE, in_crops=False)
    return derivative(call, *args, **kwargs)


def _detached(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_detached(part) for part in value]
    return value.detach() if isinstance(value, Tensor) else value


def _attention(call: Call, query: Tensor, key: Tensor, *args: Any, **kwargs: Any) -> Result:
    """The attention weights, a function of query and key, are held; the signal goes to the values.

    Also of `F.multi_head_attention_forward`, with the weights that make all three.
    """
    if call.method.name != "gradient":
        query, key = query.detach(), key.detach()
        # A mask may depend on the image too: SAM computes its biases of positions from the queries.
        args = (*args[:1], *_detached(args[1:]))
        kwargs = {name: of if name == "value" else _detached(of) for name, of in kwargs.items()}
    output = call.native(query, key, *args, **kwargs)
    return output, Locality(EVERYWHERE, in_crops=False)


RULES: Mapping[str, Callable[..., Result]] = {
    **dict.fromkeys(GATES, _gate),
    "glu": _gated_linear,
    **dict.fromkeys(STATISTICS, _statistic),
    **dict.fromkeys(MATRIX_PRODUCTS, _matrix_product),
    "scaled_dot_product_attention": _attention,
    "multi_head_attention_forward": _attention,
    **dict.fromkeys(LINEAR, derivative),
}
