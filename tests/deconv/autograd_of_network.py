"""The oracle for any network: autograd through its own forward pass, a few functions replaced.

It shares no code with the project. What is held is detached, what rectifies has a backward pass of
its own, and statistics of normalisations are computed here, and detached; the rest is PyTorch's.
"""

import itertools
import math
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

METHODS = ("gradient", "deconvnet", "guided")
RECTIFIERS = frozenset(
    {
        *("relu", "relu6", "hardtanh", "silu", "gelu", "hardswish", "mish", "elu", "selu", "celu"),
        "softplus",
    }
)
SIGNED = frozenset({"tanh", "softsign"})
STATISTICS = frozenset({"var", "std", "norm", "vector_norm", "pow", "square", "sqrt", "rsqrt"})
HELD = STATISTICS | {"sigmoid", "hardsigmoid", "softmax"}
NORMALISATIONS = frozenset(
    {"layer_norm", "rms_norm", "group_norm", "instance_norm", "normalize", "local_response_norm"}
)
PRODUCTS = frozenset({"matmul", "bmm", "einsum"})


class Rectified(torch.autograd.Function):
    """A function whose signal goes through `passed`, and with `guided` times its derivative."""

    @staticmethod
    def forward(context: Any, values: Tensor, function: Any, passed: Any, guided: bool) -> Tensor:
        context.save_for_backward(values.detach().clone())
        context.of = function, passed, guided
        return function(values.detach().clone())

    @staticmethod
    def backward(context: Any, signal: Tensor) -> Any:
        function, passed, guided = context.of
        (values,) = context.saved_tensors
        signal = passed(signal)
        if guided:
            with torch.enable_grad():
                at = values.detach().clone().requires_grad_()
                (slope,) = torch.autograd.grad(function(at.clone()).sum(), at)
            signal = signal * slope
        return signal, None, None, None


class Changed(TorchFunctionMode):
    """PyTorch's functions as the definition says (`zf_lightning/deconv/held.py`)."""

    def __init__(self, method: str, norm: str = "identity") -> None:
        super().__init__()
        self.method, self.norm = method, norm
        #: What rectifiers gave, kept so that no other value gets the same id.
        self._rectified_values: dict[int, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "").strip("_")
        first = args[0] if args and isinstance(args[0], Tensor) else None
        if self.method == "gradient" or (first is None and name != "einsum"):
            return func(*args, **kwargs)
        if name in RECTIFIERS | SIGNED | {"leaky_relu", "prelu"}:
            return self._rectified(func, name, *args, **kwargs)
        if name in ("pow", "square") and id(first) in self._rectified_values:
            square = Rectified.apply(first, torch.square, _positive, self.method == "guided")
            self._rectified_values[id(square)] = square
            return square
        if name == "mul" and len(args) == 2 and isinstance(args[1], Tensor):
            gates = [value for value in args if id(value) in self._rectified_values]
            if len(gates) == 1 and all(value.requires_grad for value in args):
                args = [value.detach() if value is gates[0] else value for value in args]
        if self.norm == "jacobian" and name in STATISTICS | NORMALISATIONS:
            return func(*args, **kwargs)
        if name in HELD:
            return func(first.detach().clone(), *args[1:], **kwargs)
        if name in PRODUCTS:
            output = func(*args, **kwargs)
            operands = args[1:] if name == "einsum" else args[:2]
            operands = operands[0] if isinstance(operands[0], list | tuple) else operands
            held = sum(value.requires_grad for value in operands) > 1
            return output.detach() if held else output
        return REPLACED.get(name, func)(*args, **kwargs)

    def _rectified(self, func: Any, name: str, values: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        in_place = kwargs.get("inplace") or func.__name__.endswith("_")

        def passed(signal: Tensor) -> Tensor:
            if name in SIGNED:
                return signal
            # Those that are linear on either side of 0 are so for the signal too.
            slopes = name in ("leaky_relu", "prelu")
            return func(signal.clone(), *args, **kwargs) if slopes else _positive(signal)

        def function(values: Tensor) -> Tensor:
            return func(values, *args, **kwargs)

        output = Rectified.apply(values, function, passed, self.method == "guided")
        output = values.copy_(output) if in_place else output
        self._rectified_values[id(output)] = output
        return output


def _positive(signal: Tensor) -> Tensor:
    return signal.clamp(min=0)


def layer_norm(
    x: Tensor, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    axes = tuple(range(x.dim() - len(tuple(shape)), x.dim()))
    mean = x.mean(axes, keepdim=True)
    power = ((x - mean) ** 2).mean(axes, keepdim=True)
    x = (x - mean.detach()) / (power + eps).sqrt().detach()
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def rms_norm(x: Tensor, shape: Any, weight: Any = None, eps: float | None = None) -> Tensor:
    axes = tuple(range(x.dim() - len(tuple(shape)), x.dim()))
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    x = x / ((x**2).mean(axes, keepdim=True) + eps).sqrt().detach()
    return x if weight is None else x * weight


def group_norm(
    x: Tensor, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    parts = [layer_norm(part, part.shape[1:], eps=eps) for part in x.chunk(groups, 1)]
    ones = (1, -1, *(1 for _ in x.shape[2:]))
    x = torch.cat(parts, 1)
    x = x if weight is None else x * weight.view(ones)
    return x if bias is None else x + bias.view(ones)


def instance_norm(
    x: Tensor,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    return group_norm(x, x.shape[1], weight, bias, eps)


def normalize(
    x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None
) -> Tensor:
    return x / x.detach().norm(p, dim, keepdim=True).clamp_min(eps)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **_: Any,
) -> Tensor:
    scores = q @ k.transpose(-2, -1) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -math.inf)
        else:
            scores = scores + attn_mask
    return torch.exp(scores - scores.logsumexp(-1, keepdim=True)).detach() @ v


def multi_head(
    query: Tensor, key: Tensor, value: Tensor, width: int, heads: int, *args: Any, **_: Any
) -> Any:
    """Self-attention of PyTorch's module: `[L, N, C]`."""
    weight, bias, *_, out_weight, out_bias = args[:8]
    length, images, _ = query.shape
    parts = F.linear(query, weight, bias).chunk(3, -1)
    q, k, v = (p.reshape(length, images, heads, -1).permute(1, 2, 0, 3) for p in parts)
    mixed = attention(q, k, v).permute(2, 0, 1, 3).reshape(length, images, width)
    return F.linear(mixed, out_weight, out_bias), None


def gated(values: Tensor, dim: int = -1) -> Tensor:
    part, gate = values.chunk(2, dim)
    return part * gate.detach().sigmoid()


def passing(values: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Contrast normalisation; the signal goes through unchanged."""
    with torch.no_grad():
        change = F.local_response_norm(values, *args, **kwargs) - values
    return values + change


REPLACED: Mapping[str, Callable[..., Any]] = {
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "normalize": normalize,
    "scaled_dot_product_attention": attention,
    "multi_head_attention_forward": multi_head,
    "glu": gated,
    "local_response_norm": passing,
}


def outputs_of_modules(
    network: nn.Module, pixels: Tensor, modules: Collection[tuple[str, int]], method: str
) -> dict[tuple[str, int], Tensor]:
    """The outputs, with gradients, of modules in the network's own forward pass.

    Args:
        modules: names, and which of its calls is meant, from 0 on.
    """
    found: dict[tuple[str, int], Tensor] = {}

    def hook_of(name: str) -> Callable[..., None]:
        calls = itertools.count()

        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            call = name, next(calls)
            if call in modules:
                found[call] = output.clone()

        return keep

    with ExitStack() as hooks:
        for name in {name for name, _ in modules}:
            hook = network.get_submodule(name).register_forward_hook(hook_of(name))
            hooks.callback(hook.remove)
        with Changed(method):
            network(pixels.clone())
    return found
