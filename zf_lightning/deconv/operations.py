"""The operations that a signal can go down through, by name: what is not here is refused.

Each is run here as the network runs it. Where its derivative is right, autograd takes the signal
back; the others have a rule in `backward`. To teach the deconvnet another operation, give it a
function that does the same and has the backward pass you want, usually the `apply` of a
`torch.autograd.Function`, as `Deconvnet(network, rules={torch.sin: Sine.apply})`: under the
function, the name of a method of tensors, or a module's class (then it gets the module first).
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zf_lightning.deconv import backward, held, normalisations, rectifiers
from zf_lightning.deconv.backward import Method
from zf_lightning.deconv.call import CASTS, Call, NoRule, Result, derivative
from zf_lightning.deconv.held import held_by, hold, tensors_in
from zf_lightning.deconv.layout import placed
from zf_lightning.deconv.locality import (
    EVERYWHERE,
    POINTWISE,
    Locality,
    Support,
    along,
    axes_of,
    pair,
    positions_of,
)
from zf_lightning.errors import UserError
from zf_lightning.graph.operations import Operation, is_torch, name_of, operation_class
from zf_lightning.models.contrast_normalisation import LocalResponseNorm
from zf_lightning.system.compat import has_hooks


@dataclass(frozen=True)
class Operations:
    """Runs operations so that autograd takes a signal back through them as a method says.

    Args:
        method: how a signal goes down through what is not linear.
        rules: operations of the user's own, which go before the built-in ones.
        places: whether it is followed where rows and columns are, for crops to be planned.
    """

    method: Method
    rules: Mapping[Operation, Callable[..., Tensor]] = field(default_factory=dict)
    places: bool = False

    @property
    def whole_modules(self) -> frozenset[type[nn.Module]]:
        """Classes of modules that are run as one operation, not as what they consist of."""
        return frozenset({LocalResponseNorm, *(k for k in self.rules if isinstance(k, type))})

    def run_module(
        self, module: nn.Module, args: Sequence[Any], kwargs: Any, crop: Locality | None
    ) -> Result | None:
        """Run a module that is one operation; None if it consists of others, to be run instead."""
        kind = operation_class(self.whole_modules, module)
        if kind in self.rules:
            return _by_user(self.rules[kind], (module, *args), kwargs)
        if type(module) not in MODULES or kwargs or not _is_plain(module):
            return None
        name, attributes = MODULES[type(module)]
        options = {attribute: getattr(module, attribute) for attribute in attributes}
        return self.run_function(getattr(F, name), args, options, crop)

    def is_unknown(self, function: Any) -> bool:
        """Whether a function is not PyTorch's, so that what it calls has to be seen."""
        known = isinstance(function, str) or is_torch(function) or function in self.rules
        return not known and name_of(function) not in self.rules

    def run_function(
        self, function: Any, args: Sequence[Any], kwargs: Any, crop: Locality | None
    ) -> Result:
        """Run a function, or a method of tensors by its name, on values of the image.

        `crop` is the operation's locality if the values are crops of feature maps.
        Raises UserError for an operation without rule.
        """
        name = name_of(function)
        for key in (function, name):
            if key in self.rules:
                return _by_user(self.rules[key], args, kwargs)
        native = getattr(torch.Tensor, function) if isinstance(function, str) else function
        call = Call(self.method, crop, name, native)
        known = isinstance(function, str) or is_torch(function)
        is_held, refusal = _held_among(name, args, kwargs)
        if is_held and (refusal or name != "mean"):
            shapes = {value.shape for value in tensors_in((args, kwargs)) if held_by(value)}
            locality = Locality(EVERYWHERE, in_crops=False)
            if known and name in POINTWISE_OF_HELD and len(shapes) == 1:
                locality = Locality()
            result: Result = hold(native(*args, **kwargs), name, refusal), locality
        elif name in FUNCTIONS and known:
            result = FUNCTIONS[name](call, *args, **kwargs)
        else:
            return self._unlisted(call, args, kwargs)
        if name in rectifiers.RULES and not is_held:
            result[0].rectified = True
        if self.method.norm == "jacobian" and held.of_statistics(name, args, kwargs):
            result[0].statistic = True
        if not self.places:
            return result
        return placed(call, args, kwargs, result, any_layout=name in ANY_LAYOUT)

    def _unlisted(self, call: Call, args: Sequence[Any], kwargs: Any) -> Result:
        if self.method.name == "gradient":
            if isinstance(args[0], Tensor):
                # It may be an operation in place.
                args = args[0].clone(), *args[1:]
            return derivative(call, *args, **kwargs)
        raise NoRule(
            f"{call.name} has no backward rule, so that nothing above it can be projected: write "
            f"one, as zf_lightning/deconv/operations.py says, and pass it as "
            f"Deconvnet(network, rules={{{call.name}: ...}}), or choose layers below it."
        )


def _held_among(name: str, args: Sequence[Any], kwargs: Any) -> tuple[bool, str | None]:
    """Whether an operation gives what is held, as all or some of what it takes is.

    And why that may only be part of a gate: because of a held value that is not a factor.
    Raises NoRule where such a value is a factor of what carries a signal.
    """
    if name in ("expand_as", "view_as", "reshape_as", "type_as"):
        args, kwargs = args[:1], {}  # Of the other only the shape or the type is asked.
    tensors = [*tensors_in((args, kwargs))]
    refusal = next((r for r in (getattr(t, "refusal", None) for t in tensors) if r), None)
    if not any(tensor.requires_grad for tensor in tensors):
        return True, None if name in held.GATES else refusal
    if name in held.FACTORS:
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


def _by_user(rule: Callable[..., Tensor], args: Sequence[Any], kwargs: Any) -> Result:
    output = rule(*args, **kwargs)
    if not isinstance(output, Tensor):
        raise UserError(f"its rule gives {type(output).__name__}, not a tensor.")
    # Nothing is known of what it sees: where its output is, unless told otherwise.
    return output, Locality(in_crops=False)


def _pointwise(call: Call, *args: Any, **kwargs: Any) -> Result:
    return call.native(*args, **kwargs), Locality()


def _arithmetic(call: Call, *args: Any, **kwargs: Any) -> Result:
    """Sums of anything; products and quotients with numbers, weights and gates."""
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
    by_position = axes is not None and all(
        axes_of(value) == axes
        and value.dim() == output.dim()
        and positions_of(value, axes) == positions_of(output, axes)
        for value in computed
    )
    of_one_shape = {value.shape for value in from_image} == {output.shape}
    if not by_position and not of_one_shape:
        return output, Locality(EVERYWHERE, in_crops=False)
    # A weight that differs between positions would have to be cropped too.
    weights = [value for value in tensors if all(value is not other for other in computed)]
    from_right = [axis - output.dim() for axis in axes or ()]
    everywhere_one = all(
        value.dim() < -axis or value.shape[axis] == 1 for value in weights for axis in from_right
    )
    return output, Locality(in_crops=by_position and everywhere_one)


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


def _convolution(
    call: Call,
    values: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Result:
    _require_maps(values)
    strides, dilations = pair(stride), pair(dilation)
    reach = [dilations[axis] * (weight.shape[2 + axis] - 1) for axis in (0, 1)]
    if isinstance(padding, str):
        if padding == "same" and any(margin % 2 for margin in reach):
            raise NoRule(
                "padding='same' with an even kernel pads one side more than the other: put an "
                "nn.ZeroPad2d before a convolution without padding."
            )
        padding = (reach[0] // 2, reach[1] // 2) if padding == "same" else 0
    margins = pair(padding)
    support = Support((reach[0] + 1, reach[1] + 1), strides, (-margins[0], -margins[1]))
    inner = (0, 0) if call.crop else margins
    output = backward.convolve(values, weight, bias, strides, inner, dilations, groups)
    return output, Locality(support)


def _max_pooling(
    call: Call,
    values: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Result:
    """Of equal values the first wins, as PyTorch chooses."""
    _require_maps(values)
    if return_indices:
        raise NoRule("max pooling that returns its switches to the network has no backward rule.")
    kernel, margins, spacing = pair(kernel_size), pair(padding), pair(dilation)
    steps = pair(stride) if stride else kernel
    extent = spacing[0] * (kernel[0] - 1) + 1, spacing[1] * (kernel[1] - 1) + 1
    inner, ceil = ((0, 0), False) if call.crop else (margins, ceil_mode)
    with torch.no_grad():
        output, switches = F.max_pool2d(values, kernel, steps, inner, spacing, ceil, True)
    output = backward.keep_switches(values, output, switches, extent, steps)
    support = Support(extent, steps, (-margins[0], -margins[1]))
    return output, Locality(support, border_value=-math.inf)


def _adaptive_max_pooling(
    call: Call, values: Tensor, output_size: Any, return_indices: bool = False
) -> Result:
    if call.crop:
        assert isinstance(call.crop.support, Support)
        return _max_pooling(call, values, call.crop.support.extent)
    _require_maps(values)
    if return_indices:
        raise NoRule("max pooling that returns its switches to the network has no backward rule.")
    with torch.no_grad():
        output, switches = F.adaptive_max_pool2d(values, output_size, return_indices=True)
    extents, steps = [], []
    for size, number in zip(values.shape[2:], output.shape[2:], strict=True):
        starts = torch.arange(number) * size // number
        ends = -(-(torch.arange(number) + 1) * size // number)
        extents.append(int((ends - starts).max()))
        # Windows repeat where there are more of them than positions.
        steps.append(max(1, int(starts.diff().min())) if number > 1 else size)
    output = backward.keep_switches(values, output, switches, pair(extents), pair(steps))
    return output, _adaptive(values, output, -math.inf)


def _adaptive_average(call: Call, values: Tensor, output_size: Any) -> Result:
    if call.crop:
        assert isinstance(call.crop.support, Support)
        return F.avg_pool2d(values, call.crop.support.extent), call.crop
    _require_maps(values)
    output = F.adaptive_avg_pool2d(values, output_size)
    return output, _adaptive(values, output, 0.0)


def _adaptive(values: Tensor, output: Tensor, border_value: float) -> Locality:
    """Of adaptive pooling; windows that differ in size are taken to see everything."""
    (height, width), (rows, columns) = values.shape[2:], output.shape[2:]
    if height % rows or width % columns:
        return Locality(EVERYWHERE, in_crops=False)
    extent = height // rows, width // columns
    return Locality(Support(extent, extent), border_value=border_value)


def _average_pooling(
    call: Call,
    values: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Result:
    _require_maps(values)
    kernel, margins = pair(kernel_size), pair(padding)
    steps = pair(stride) if stride else kernel
    inner, ceil = ((0, 0), False) if call.crop else (margins, ceil_mode)
    output = F.avg_pool2d(values, kernel, steps, inner, ceil, count_include_pad, divisor_override)
    # Whether every window divides by the same number. What hangs over the padding does not count.
    whole = all(
        (output.shape[2 + axis] - 1) * steps[axis] + kernel[axis]
        <= values.shape[2 + axis] + 2 * margins[axis]
        for axis in (0, 1)
    )
    even = divisor_override is not None or (whole and (count_include_pad or margins == (0, 0)))
    return output, Locality(Support(kernel, steps, (-margins[0], -margins[1])), in_crops=even)


def _mean(call: Call, values: Tensor, *args: Any, **kwargs: Any) -> Result:
    values = held.as_statistic(call.method, values)
    dim = args[0] if args else kwargs.get("dim")
    axes = {one % values.dim() for one in ([dim] if isinstance(dim, int) else dim or (0,))}
    if 0 in axes:
        raise NoRule("a mean over the images of a batch has no backward rule.")
    keepdim = (args[1] if len(args) > 1 else kwargs.get("keepdim")) is True
    output = call.native(values, *args, **kwargs)
    if not values.requires_grad:
        output = hold(output, call.name)
    return output, along(values, axes, keepdim=keepdim)


def _dropout(
    call: Call, values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Result:
    if training:
        raise NoRule(
            "dropout that is always on has no backward rule: pass training=self.training to it."
        )
    return values, Locality()


def _linear(call: Call, values: Tensor, *args: Any, **kwargs: Any) -> Result:
    axes = axes_of(values)
    in_crops = axes is not None and values.dim() - 1 not in axes
    return call.native(values, *args, **kwargs), Locality(in_crops=in_crops)


def _reshaping(call: Call, values: Tensor, *args: Any, **kwargs: Any) -> Result:
    # Crops lie otherwise in memory than images.
    function = torch.Tensor.reshape if call.crop and call.name == "view" else call.native
    output = function(values, *args, **kwargs)
    if _positions(values.shape) == _positions(output.shape):
        return output, Locality(in_crops=False)
    return output, Locality(EVERYWHERE, in_crops=False)


def _positions(shape: torch.Size) -> tuple[int, ...]:
    """Height and width of what has this shape; a vector has one position."""
    return tuple(shape[-2:]) if len(shape) > 2 else (1, 1)


def _indexing(call: Call, values: Any, index: Any) -> Result:
    """Of a tensor, or of the several that an operation gave."""
    if not isinstance(values, Tensor):
        return values[index], Locality(EVERYWHERE, in_crops=False)
    parts = tuple(index) if isinstance(index, tuple | list) else (index,)
    kept = parts and parts[0] == slice(None) and all(p == slice(None) for p in parts[2:])
    return values[index], Locality(POINTWISE if kept else EVERYWHERE, in_crops=False)


def _padding(
    call: Call, values: Tensor, pad: Sequence[int], mode: str = "constant", value: Any = None
) -> Result:
    """With zeros it may be cropped; `pad` is left, right, top, bottom."""
    if mode != "constant" or value or len(pad) > 4 or values.dim() != 4:
        return F.pad(values, pad, mode, value), Locality(EVERYWHERE, in_crops=False)
    left, right, top, bottom = (*pad, 0, 0)[:4]
    output = values if call.crop else F.pad(values, (left, right, top, bottom))
    return output, Locality(Support(offset=(-top, -left)))


def _concatenation(call: Call, tensors: Sequence[Tensor], dim: int = 0) -> Result:
    output = torch.cat(list(tensors), dim)
    if dim % output.dim() != 1 or output.dim() != 4:
        return output, Locality(EVERYWHERE, in_crops=False)
    return output, Locality()


def _require_maps(values: Tensor) -> None:
    if values.dim() != 4:
        raise NoRule(
            f"it expects feature maps [N, C, H, W], but its input has shape {list(values.shape)}."
        )


#: By name without underscores: `relu_`, `F.relu` and `torch.relu` are one operation, and `iadd`
#: is `add`. Operations in place were rewritten to new values when the network was traced.
FUNCTIONS: Mapping[str, Callable[..., Result]] = {
    "conv2d": _convolution,
    "linear": _linear,
    "max_pool2d": _max_pooling,
    "adaptive_max_pool2d": _adaptive_max_pooling,
    "avg_pool2d": _average_pooling,
    "adaptive_avg_pool2d": _adaptive_average,
    "mean": _mean,
    "dropout": _dropout,
    "dropout2d": _dropout,
    **dict.fromkeys(("flatten", "reshape", "view", "unsqueeze", "squeeze"), _reshaping),
    "getitem": _indexing,
    "pad": _padding,
    **dict.fromkeys(("cat", "concat", "concatenate"), _concatenation),
    **dict.fromkeys(ARITHMETIC, _arithmetic),
    "addcmul": _sum_with_product,
    **dict.fromkeys(("clone", "contiguous", "neg"), _pointwise),
    **held.RULES,
    **normalisations.RULES,
    **rectifiers.RULES,
}
#: Operations on single positions, wherever rows and columns are: those of which this is not known
#: take feature maps `[N, C, H, W]`.
ANY_LAYOUT = frozenset(
    {
        *("linear", "dropout", "dropout2d", "mean"),
        *("clone", "contiguous", "neg", "layer_norm", "rms_norm", "normalize", *CASTS),
        *(*ARITHMETIC, *held.STATISTICS, *rectifiers.RULES.keys() - {"prelu"}),
    }
)
#: Of statistics, which are held.
POINTWISE_OF_HELD = frozenset({*ARITHMETIC, "sqrt", "rsqrt", "pow", "square", "clamp", "clamp_min"})
#: Modules that do nothing but call a function with these attributes. Others are run themselves, and
#: so would these be, to the same end; but seeing each call that a module makes takes longer than a
#: small operation.
MODULES: Mapping[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    nn.Conv2d: ("conv2d", ("weight", "bias", "stride", "padding", "dilation", "groups")),
    nn.MaxPool2d: ("max_pool2d", ("kernel_size", "stride", "padding", "dilation", "ceil_mode")),
    nn.ReLU: ("relu", ()),
    nn.BatchNorm2d: ("batch_norm", ("running_mean", "running_var", "weight", "bias", "eps")),
    LocalResponseNorm: ("local_response_norm", ("size", "alpha", "beta", "k")),
}


def _is_plain(module: nn.Module) -> bool:
    """Whether a module of MODULES does what its class does, without hooks or another padding."""
    replaced = vars(module).keys() & {"forward", "_conv_forward"}
    padding, switches = (getattr(module, name, None) for name in ("padding_mode", "return_indices"))
    return not (has_hooks(module) or replaced or switches) and padding in (None, "zeros")
