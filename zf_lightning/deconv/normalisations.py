"""Normalisations: of batches, of single images, of positions, and the paper's of contrast.

What each does to a signal, and why, stands at the head of `held`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zf_lightning.deconv import backward
from zf_lightning.deconv.backward import Method
from zf_lightning.deconv.call import Call, NoRule, Result
from zf_lightning.deconv.locality import Locality, along
from zf_lightning.models.contrast_normalisation import contrast_normalisation


def _contrast_normalisation(
    call: Call,
    values: Tensor,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> Result:
    """The arXiv text does not say how it goes down; the ECCV text leaves it out there."""
    if call.method.norm == "jacobian":
        return contrast_normalisation(values, size, alpha, beta, k), Locality()
    output = call.given(lambda: contrast_normalisation(values, size, alpha, beta, k))
    return backward.pass_through(values, output), Locality()


def _batch_norm(
    call: Call,
    values: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Result:
    """In evaluation mode it is linear and belongs to the filters before it.

    The paper's network would have learned these already scaled. So the signal is multiplied with
    `weight / sqrt(running_var + eps)` whatever `Method.norm` says, and mean and bias take no part.
    A negative weight turns the sign.
    """
    if training or running_mean is None or running_var is None:
        raise NoRule(
            "batch normalisation by the statistics of the batch has no backward rule: a unit's "
            "projection would depend on the other images."
        )
    output = call.given(
        lambda: F.batch_norm(values, running_mean, running_var, weight, bias, False, 0.0, eps)
    )
    with torch.no_grad():
        scale = (running_var + eps).rsqrt()
    return backward.scale_maps(values, output, scale if weight is None else weight * scale), (
        Locality()
    )


def normalise(
    method: Method,
    values: Tensor,
    function: Callable[[Tensor], Tensor],
    scale: Callable[[Tensor], Tensor],
    dims: Iterable[int],
) -> Result:
    """A normalisation by statistics along `dims`; `scale` of the values multiplies the signal."""
    locality = along(values, [*dims])
    if method.name == "gradient" or method.norm == "jacobian":
        return function(values), locality
    with torch.no_grad():
        output, factor = function(values), scale(values)
    return backward.with_backward(values, output, lambda signal: signal * factor), locality


def layer_norm_scale(
    values: Tensor, shape: Any, weight: Tensor | None, eps: float, *, centred: bool
) -> Tensor:
    """Of layer normalisation, and (not `centred`) of division by the root mean square."""
    axes = tuple(range(-len(tuple(shape)), 0))
    if centred:
        power = values.var(axes, correction=0, keepdim=True)
    else:
        power = values.square().mean(axes, keepdim=True)
    factor = (power + eps).rsqrt()
    return factor if weight is None else factor * weight


def group_norm_scale(values: Tensor, groups: int, weight: Tensor | None, eps: float) -> Tensor:
    """Of group normalisation; of instance normalisation, where each map is a group."""
    grouped = values.reshape(len(values), groups, -1)
    factor = (grouped.var(2, correction=0) + eps).rsqrt()
    ones = (1,) * (values.dim() - 2)
    factor = factor.repeat_interleave(values.shape[1] // groups, 1).view(*values.shape[:2], *ones)
    return factor if weight is None else factor * weight.view(1, -1, *ones)


def _layer_norm(
    call: Call,
    values: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Result:
    return normalise(
        call.method,
        values,
        lambda v: F.layer_norm(v, normalized_shape, weight, bias, eps),
        lambda v: layer_norm_scale(v, normalized_shape, weight, eps, centred=True),
        range(-len(tuple(normalized_shape)), 0),
    )


def _rms_norm(
    call: Call,
    values: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Result:
    least = torch.finfo(values.dtype).eps if eps is None else eps
    return normalise(
        call.method,
        values,
        lambda v: F.rms_norm(v, normalized_shape, weight, eps),
        lambda v: layer_norm_scale(v, normalized_shape, weight, least, centred=False),
        range(-len(tuple(normalized_shape)), 0),
    )


def _group_norm(
    call: Call,
    values: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Result:
    return normalise(
        call.method,
        values,
        lambda v: F.group_norm(v, num_groups, weight, bias, eps),
        lambda v: group_norm_scale(v, num_groups, weight, eps),
        range(values.dim()),
    )


def _instance_norm(
    call: Call,
    values: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Result:
    if not use_input_stats:
        raise NoRule("instance normalisation by running statistics has no backward rule.")
    return _group_norm(call, values, values.shape[1], weight, bias, eps)


def _unit_length(
    call: Call, values: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None
) -> Result:
    """`F.normalize`: the length is held."""
    return normalise(
        call.method,
        values,
        lambda v: F.normalize(v, p, dim, eps),
        lambda v: 1 / v.norm(p, dim, keepdim=True).clamp_min(eps),
        [dim],
    )


RULES: Mapping[str, Callable[..., Result]] = {
    "local_response_norm": _contrast_normalisation,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "normalize": _unit_length,
}
