"""Rules for averages over positions: each position takes back its share of the signal.

Shapes: `[N, C, H, W]` on the way up, N images; `[U, C, H, W]` on the way down, U units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zf_lightning.deconv.linear import Pair, pair, require_maps
from zf_lightning.deconv.reversal import EVERYWHERE, Mode, Reversal, Support
from zf_lightning.errors import UserError


@dataclass
class Averaging(Reversal):
    """The transpose of an average over rows and then over columns.

    As two matrices it is the same for windows of any form, and adds in a fixed order on a GPU.
    """

    #: `[output rows, input rows]`: the share of each input row in each output row.
    rows: Tensor
    #: `[output columns, input columns]`.
    columns: Tensor
    windows: Support | Literal["everywhere"]
    #: Whether every window has the same share for each of its positions, padding included.
    uniform: bool = False

    @property
    def windowed(self) -> bool:
        return self.uniform

    @property
    def support(self) -> Support | Literal["everywhere"]:
        return self.windows

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        return (self.rows.T @ signal @ self.columns,)


def _shares(starts: Tensor, ends: Tensor, divisors: Tensor, size: int, values: Tensor) -> Tensor:
    """`[windows, size]`: 1 / divisor between start and end of each window, 0 elsewhere."""
    positions = torch.arange(size)
    inside = (positions >= starts[:, None]) & (positions < ends[:, None])
    shares = inside.double() / divisors.clamp(min=1)[:, None]
    return shares.to(values.dtype).to(values.device)


def average_pooling(
    mode: Mode,
    values: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> tuple[Tensor, Reversal]:
    """`torch.nn.functional.avg_pool2d`."""
    require_maps(values)
    kernel, margin = pair(kernel_size), pair(padding)
    step = pair(stride) if stride else kernel
    if mode.windows:
        margin, ceil_mode = (0, 0), False
    output = F.avg_pool2d(
        values, kernel, step, margin, ceil_mode, count_include_pad, divisor_override
    )
    shares = []
    uniform = divisor_override is not None or count_include_pad or margin == (0, 0)
    for axis in (0, 1):
        size = values.shape[2 + axis]
        starts = torch.arange(output.shape[2 + axis]) * step[axis] - margin[axis]
        # What hangs over the padding does not count, even where padding does.
        whole = starts + kernel[axis]
        ends = whole.clamp(max=size + margin[axis])
        uniform &= divisor_override is not None or torch.equal(whole, ends)
        if divisor_override is not None:
            divisors = torch.full_like(starts, divisor_override if axis == 0 else 1)
        elif count_include_pad:
            divisors = ends - starts
        else:
            divisors = ends.clamp(max=size) - starts.clamp(min=0)
        shares.append(_shares(starts, ends, divisors, size, values))
    support = Support(kernel, step, (-margin[0], -margin[1]))
    return output, Averaging(shares[0], shares[1], support, uniform)


def average_pooling_module(
    mode: Mode, module: nn.AvgPool2d, values: Tensor
) -> tuple[Tensor, Reversal]:
    """`nn.AvgPool2d`."""
    return average_pooling(
        mode,
        values,
        module.kernel_size,
        module.stride,
        module.padding,
        module.ceil_mode,
        module.count_include_pad,
        module.divisor_override,
    )


def adaptive_windows(size: int, number: int) -> tuple[Tensor, Tensor]:
    """First position of each of `number` adaptive windows in `size` positions, and its end.

    They overlap where `number` does not divide `size`, and repeat where it is the larger one.
    """
    places = torch.arange(number)
    return places * size // number, -(-(places + 1) * size // number)


def adaptive_support(input_size: Pair, output_size: Pair) -> Support | Literal["everywhere"]:
    """What adaptive windows see; windows that differ in size are taken to see everything."""
    if any(size % number for size, number in zip(input_size, output_size, strict=True)):
        return EVERYWHERE
    extent = (input_size[0] // output_size[0], input_size[1] // output_size[1])
    return Support(extent, extent)


def adaptive_average_pooling(
    mode: Mode, values: Tensor, output_size: int | tuple[int | None, int | None] | None
) -> tuple[Tensor, Reversal]:
    """`torch.nn.functional.adaptive_avg_pool2d` to any size, also one larger than the input's."""
    require_maps(values)
    output = F.adaptive_avg_pool2d(values, output_size)
    shares = []
    for size, number in zip(values.shape[2:], output.shape[2:], strict=True):
        starts, ends = adaptive_windows(size, number)
        shares.append(_shares(starts, ends, ends - starts, size, values))
    (height, width), (rows, columns) = values.shape[2:], output.shape[2:]
    windows = adaptive_support((height, width), (rows, columns))
    return output, Averaging(shares[0], shares[1], windows)


def adaptive_average_pooling_module(
    mode: Mode, module: nn.AdaptiveAvgPool2d, values: Tensor
) -> tuple[Tensor, Reversal]:
    """`nn.AdaptiveAvgPool2d`."""
    return adaptive_average_pooling(mode, values, module.output_size)


@dataclass
class Mean(Reversal):
    """Every position takes back the same share."""

    input_size: Pair

    @property
    def support(self) -> Literal["everywhere"]:
        return EVERYWHERE

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        height, width = self.input_size
        share = (signal / (height * width)).reshape(*signal.shape[:2], 1, 1)
        return (share.expand(-1, -1, height, width),)


def mean(
    mode: Mode, values: Tensor, dim: int | Sequence[int], keepdim: bool = False
) -> tuple[Tensor, Reversal]:
    """`torch.mean` of each feature map."""
    require_maps(values)
    if {one % 4 for one in ([dim] if isinstance(dim, int) else dim)} != {2, 3}:
        raise UserError("a mean over anything but rows and columns has no rule.")
    height, width = values.shape[2:]
    return values.mean((2, 3), keepdim), Mean((height, width))
