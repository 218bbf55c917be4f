"""Rules for what is not linear: max pooling, contrast normalisation (Sec. 2.1).

Shapes: `[N, C, H, W]` on the way up, N images; `[U, C, H, W]` on the way down, U units.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zf_lightning.deconv.averages import adaptive_support, adaptive_windows
from zf_lightning.deconv.linear import Pair, pair, require_maps
from zf_lightning.deconv.reversal import EVERYWHERE, Mode, Reversal, Support, Unchanged
from zf_lightning.errors import UserError
from zf_lightning.models.contrast_normalisation import contrast_normalisation as fast_normalisation
from zf_lightning.models.contrast_normalisation import normalisation_gradient


@dataclass
class Unpooling(Reversal):
    """Each value returns to its switch; values that meet at one switch add (Sec. 2.1, "Unpooling").

    Windows of 3×3, 2 apart, share switches. `nn.MaxUnpool2d` would overwrite there, in no fixed
    order.
    """

    #: `[N, C, H, W]`: the position in the flattened input map that each window's maximum has.
    switches: Tensor
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    input_size: Pair
    #: False where windows differ: then kernel is the largest and stride the shortest step.
    even: bool = True

    @property
    def windowed(self) -> bool:
        return self.even

    @property
    def border_value(self) -> float:
        return -math.inf

    @property
    def support(self) -> Support | Literal["everywhere"]:
        if not self.even:
            return EVERYWHERE
        return Support(self._extent, self.stride, (-self.padding[0], -self.padding[1]))

    @property
    def _extent(self) -> Pair:
        return (
            self.dilation[0] * (self.kernel[0] - 1) + 1,
            self.dilation[1] * (self.kernel[1] - 1) + 1,
        )

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        units, channels = signal.shape[:2]
        height, width = self.input_size
        pixels = signal.new_zeros(units, channels, height * width)
        switches = self.switches[images]
        for rows, columns in self._disjoint_windows(signal.device):
            pixels.scatter_add_(
                2,
                switches[:, :, rows, columns].flatten(2),
                signal[:, :, rows, columns].flatten(2),
            )
        return (pixels.view(units, channels, height, width),)

    def _disjoint_windows(self, device: torch.device) -> list[tuple[slice, slice]]:
        # On a GPU values that meet would be added in any order: there, windows that overlap go one
        # after the other, and the sums are the same in every run.
        if device.type == "cpu":
            return [(slice(None), slice(None))]
        apart = [math.ceil(self._extent[axis] / self.stride[axis]) for axis in (0, 1)]
        return [
            (slice(row, None, apart[0]), slice(column, None, apart[1]))
            for row in range(apart[0])
            for column in range(apart[1])
        ]


def max_pooling(
    mode: Mode,
    values: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Reversal]:
    """`torch.nn.functional.max_pool2d`; of equal values the first wins, as PyTorch chooses."""
    require_maps(values)
    if return_indices:
        raise UserError("max pooling that returns its switches to the network has no rule.")
    kernel, margin, spacing = pair(kernel_size), pair(padding), pair(dilation)
    step = pair(stride) if stride else kernel
    if mode.windows:
        margin, ceil_mode = (0, 0), False
    output, switches = F.max_pool2d(
        values, kernel, step, margin, spacing, ceil_mode, return_indices=True
    )
    height, width = values.shape[2:]
    return output, Unpooling(switches, kernel, step, margin, spacing, (height, width))


def max_pooling_module(mode: Mode, module: nn.MaxPool2d, values: Tensor) -> tuple[Tensor, Reversal]:
    """`nn.MaxPool2d`."""
    return max_pooling(
        mode,
        values,
        module.kernel_size,
        module.stride,
        module.padding,
        module.dilation,
        module.ceil_mode,
        module.return_indices,
    )


def adaptive_max_pooling(
    mode: Mode,
    values: Tensor,
    output_size: Any,
    return_indices: bool = False,
) -> tuple[Tensor, Reversal]:
    """`torch.nn.functional.adaptive_max_pool2d` to a size that is not larger than the input's."""
    require_maps(values)
    if return_indices:
        raise UserError("max pooling that returns its switches to the network has no rule.")
    output, switches = F.adaptive_max_pool2d(values, output_size, return_indices=True)
    (height, width), (rows, columns) = values.shape[2:], output.shape[2:]
    if rows > height or columns > width:
        raise UserError("adaptive max pooling to more positions than there are has no rule.")
    extents, steps = [], []
    for size, number in ((height, rows), (width, columns)):
        starts, ends = adaptive_windows(size, number)
        extents.append(int((ends - starts).max()))
        steps.append(int(starts.diff().min()) if number > 1 else size)
    even = adaptive_support((height, width), (rows, columns)) != EVERYWHERE
    kernel, step = pair(extents), pair(steps)
    return output, Unpooling(switches, kernel, step, (0, 0), (1, 1), (height, width), even)


def adaptive_max_pooling_module(
    mode: Mode, module: nn.AdaptiveMaxPool2d, values: Tensor
) -> tuple[Tensor, Reversal]:
    """`nn.AdaptiveMaxPool2d`."""
    return adaptive_max_pooling(mode, values, module.output_size, module.return_indices)


@dataclass
class ContrastNormalisationDerivative(Reversal):
    """The derivative of the normalisation at the values that were normalised."""

    values: Tensor
    size: int
    alpha: float
    beta: float
    k: float

    @property
    def windowed(self) -> bool:
        return True

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        constants = (self.size, self.alpha, self.beta, self.k)
        return (normalisation_gradient(signal, self.values[images], *constants),)


def contrast_normalisation(
    mode: Mode,
    values: Tensor,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> tuple[Tensor, Reversal]:
    """`torch.nn.functional.local_response_norm`; identity on the way down unless `mode.norm` asks.

    The arXiv text is silent; the ECCV text leaves it out of the reconstruction.
    """
    output = fast_normalisation(values, size, alpha, beta, k)
    if mode.norm == "identity":
        return output, Unchanged()
    return output, ContrastNormalisationDerivative(values, size, alpha, beta, k)


def contrast_normalisation_module(
    mode: Mode, module: nn.LocalResponseNorm, values: Tensor
) -> tuple[Tensor, Reversal]:
    """`nn.LocalResponseNorm`, and the one of `zf_lightning.models`."""
    return contrast_normalisation(mode, values, module.size, module.alpha, module.beta, module.k)
