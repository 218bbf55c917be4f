"""The operations that a signal can go down through, by name: what is not here is refused.

Each is run here as the network runs it. Where its derivative is right, autograd takes the signal
back; the others have a rule in `backward`. To teach the deconvnet another operation, give it a
function that does the same and has the backward pass you want, usually the `apply` of a
`torch.autograd.Function`, as `Deconvnet(network, rules={torch.sin: Sine.apply})`: under the
function, the name of a method of tensors, or a module's class (then it gets the module first).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from zf_lightning.deconv import arithmetic, backward, held, normalisations, pooling, rectifiers
from zf_lightning.deconv.backward import Method
from zf_lightning.deconv.call import CASTS, Call, NoRule, Result, derivative, require_maps
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
        output, switches, alone: of the operation that is run, see `Call`.
    """

    method: Method
    rules: Mapping[Operation, Callable[..., Tensor]] = field(default_factory=dict)
    places: bool = False
    output: Tensor | None = None
    switches: Tensor | None = None
    alone: bool = False

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
        if kwargs or not _is_plain(module):
            return None
        name, attributes = MODULES[type(module)]
        options = {attribute: getattr(module, attribute) for attribute in attributes}
        return self.run_function(getattr(F, name), args, options, crop)

    def rule_of(self, network: nn.Module, node: fx.Node) -> str | None:
        """The name in FUNCTIONS of the rule that runs a node; None if nothing there runs it."""
        target: Any = node.target
        if node.op == "call_module":
            module = network.get_submodule(target)
            if operation_class(self.whole_modules, module) in self.rules or node.kwargs:
                return None
            if not _is_plain(module):
                return None
            target = getattr(F, MODULES[type(module)][0])
        if not isinstance(target, str) and not is_torch(target):
            return None
        name = name_of(target)
        return None if name not in FUNCTIONS or {target, name} & {*self.rules} else name

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
        call = Call(self.method, crop, name, native, self.output, self.switches, self.alone)
        known = isinstance(function, str) or is_torch(function)
        is_held, refusal = held.among(name, args, kwargs)
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


def _by_user(rule: Callable[..., Tensor], args: Sequence[Any], kwargs: Any) -> Result:
    output = rule(*args, **kwargs)
    if not isinstance(output, Tensor):
        raise UserError(f"its rule gives {type(output).__name__}, not a tensor.")
    # Nothing is known of what it sees: where its output is, unless told otherwise.
    return output, Locality(in_crops=False)


def _pointwise(call: Call, *args: Any, **kwargs: Any) -> Result:
    return call.native(*args, **kwargs), Locality()


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
    require_maps(values)
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
    output = call.given(lambda: F.conv2d(values, weight, bias, strides, inner, dilations, groups))
    output = backward.convolve(values, output, weight, strides, inner, dilations, groups)
    return output, Locality(support)


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


#: By name without underscores: `relu_`, `F.relu` and `torch.relu` are one operation, and `iadd`
#: is `add`. Operations in place were rewritten to new values when the network was traced.
FUNCTIONS: Mapping[str, Callable[..., Result]] = {
    "conv2d": _convolution,
    "linear": _linear,
    "mean": _mean,
    "dropout": _dropout,
    "dropout2d": _dropout,
    **dict.fromkeys(("flatten", "reshape", "view", "unsqueeze", "squeeze"), _reshaping),
    "getitem": _indexing,
    "pad": _padding,
    **dict.fromkeys(("cat", "concat", "concatenate"), _concatenation),
    **dict.fromkeys(("clone", "contiguous", "neg"), _pointwise),
    **arithmetic.RULES,
    **held.RULES,
    **normalisations.RULES,
    **pooling.RULES,
    **rectifiers.RULES,
}
#: Operations on single positions, wherever rows and columns are: those of which this is not known
#: take feature maps `[N, C, H, W]`.
ANY_LAYOUT = frozenset(
    {
        *("linear", "dropout", "dropout2d", "mean"),
        *("clone", "contiguous", "neg", "layer_norm", "rms_norm", "normalize", *CASTS),
        *(*arithmetic.ARITHMETIC, *held.STATISTICS, *rectifiers.RULES.keys() - {"prelu"}),
    }
)
#: Of statistics, which are held.
POINTWISE_OF_HELD = frozenset(
    {*arithmetic.ARITHMETIC, "sqrt", "rsqrt", "pow", "square", "clamp", "clamp_min"}
)
#: Modules that do nothing but call a function with these attributes. Others are run themselves, and
#: so would these be, to the same end; but seeing each call that a module makes takes longer than a
#: small operation.
MODULES: Mapping[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    nn.Conv2d: ("conv2d", ("weight", "bias", "stride", "padding", "dilation", "groups")),
    nn.MaxPool2d: ("max_pool2d", ("kernel_size", "stride", "padding", "dilation", "ceil_mode")),
    nn.ReLU: ("relu", ()),
    nn.ReLU6: ("relu6", ()),
    nn.SiLU: ("silu", ()),
    nn.GELU: ("gelu", ("approximate",)),
    nn.Hardswish: ("hardswish", ()),
    nn.BatchNorm2d: ("batch_norm", ("running_mean", "running_var", "weight", "bias", "eps")),
    LocalResponseNorm: ("local_response_norm", ("size", "alpha", "beta", "k")),
}


def _is_plain(module: nn.Module) -> bool:
    """Whether a module is of MODULES and does that alone, without hooks or another padding."""
    if type(module) not in MODULES:
        return False
    replaced = vars(module).keys() & {"forward", "_conv_forward"}
    padding, switches = (getattr(module, name, None) for name in ("padding_mode", "return_indices"))
    return not (has_hooks(module) or replaced or switches) and padding in (None, "zeros")
