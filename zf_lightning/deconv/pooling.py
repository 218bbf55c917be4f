"""Pooling: the maximum goes back by its switches (Sec. 2.1), the average by its transpose."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zf_lightning.deconv import backward
from zf_lightning.deconv.call import Call, NoRule, Result, require_maps
from zf_lightning.deconv.locality import EVERYWHERE, Locality, Support, pair


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
    _require_own_switches(values, return_indices)
    kernel, margins, spacing = pair(kernel_size), pair(padding), pair(dilation)
    steps = pair(stride) if stride else kernel
    extent = spacing[0] * (kernel[0] - 1) + 1, spacing[1] * (kernel[1] - 1) + 1
    inner, ceil = ((0, 0), False) if call.crop else (margins, ceil_mode)
    output, switches = call.output, call.switches
    if output is None or switches is None:
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
    _require_own_switches(values, return_indices)
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


def _require_own_switches(values: Tensor, return_indices: bool) -> None:
    """Raise NoRule for maximum pooling of other values, or whose switches the network reads."""
    require_maps(values)
    if return_indices:
        raise NoRule("max pooling that returns its switches to the network has no backward rule.")


def _adaptive_average(call: Call, values: Tensor, output_size: Any) -> Result:
    if call.crop:
        assert isinstance(call.crop.support, Support)
        return F.avg_pool2d(values, call.crop.support.extent), call.crop
    require_maps(values)
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
    require_maps(values)
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


RULES: Mapping[str, Callable[..., Result]] = {
    "max_pool2d": _max_pooling,
    "adaptive_max_pool2d": _adaptive_max_pooling,
    "avg_pool2d": _average_pooling,
    "adaptive_avg_pool2d": _adaptive_average,
}
