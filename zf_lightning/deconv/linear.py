"""Rules for what is linear: the signal goes down through the transpose, without the bias.

Shapes: `[N, C, H, W]` on the way up, N images; `[U, C, H, W]` on the way down, U units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zf_lightning.deconv.reversal import Mode, Reversal, Support, Unchanged
from zf_lightning.errors import UserError

Pair = tuple[int, int]


def pair(number: int | Sequence[int]) -> Pair:
    """The vertical and the horizontal value of an option that may be given once for both."""
    if isinstance(number, int):
        return number, number
    return (number[0], number[1]) if len(number) > 1 else (number[0], number[0])


def require_maps(values: Tensor) -> None:
    """Raises UserError unless `values` are feature maps `[N, C, H, W]`."""
    if values.dim() != 4:
        raise UserError(
            f"it expects feature maps [N, C, H, W], but its input has shape {list(values.shape)}."
        )


@dataclass
class Convolution(Reversal):
    """The transposed convolution with the same filters (Sec. 2.1, "Filtering")."""

    weight: Tensor
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    input_size: Pair

    @property
    def windowed(self) -> bool:
        return True

    @property
    def support(self) -> Support:
        height, width = self.weight.shape[2:]
        return Support(
            (self.dilation[0] * (height - 1) + 1, self.dilation[1] * (width - 1) + 1),
            self.stride,
            (-self.padding[0], -self.padding[1]),
        )

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        if self.groups == 1 and self.dilation == (1, 1) and self._has_few_maps:
            return (self._by_phases(signal),)
        # Pixels at the right and the bottom that no window reaches get nothing.
        unreached = [
            self.input_size[axis]
            - (
                (signal.shape[2 + axis] - 1) * self.stride[axis]
                - 2 * self.padding[axis]
                + self.support.extent[axis]
            )
            for axis in (0, 1)
        ]
        return (
            F.conv_transpose2d(
                signal,
                self.weight,
                None,
                self.stride,
                self.padding,
                unreached,
                self.groups,
                self.dilation,
            ),
        )

    @property
    def _has_few_maps(self) -> bool:
        """Whether the input is so thin, as an image is, that libraries are slow to fill it."""
        return max(self.stride) > 1 and self.weight.shape[1] <= 4

    def _by_phases(self, signal: Tensor) -> Tensor:
        """The transposed convolution as an ordinary one, by which pixels are computed in groups.

        The pixels `row % stride == p` see the filter rows p, p + stride, ... only: each pair of
        such phases is an output map of one convolution without stride, and they are then woven
        together. For conv1 of ZFNet it takes a third of the time on a CPU.
        """
        maps, channels, *kernel = self.weight.shape
        (down, right), (height, width) = self.stride, self.input_size
        taps = -(-kernel[0] // down), -(-kernel[1] // right)
        filled = F.pad(self.weight, (0, taps[1] * right - kernel[1], 0, taps[0] * down - kernel[0]))
        filters = (
            filled.view(maps, channels, taps[0], down, taps[1], right)
            .permute(3, 5, 1, 0, 2, 4)
            .flip(4, 5)
            .reshape(down * right * channels, maps, *taps)
        )
        phases = F.conv2d(signal, filters, padding=(taps[0] - 1, taps[1] - 1))
        rows, columns = phases.shape[2:]
        woven = (
            phases.view(len(signal), down, right, channels, rows, columns)
            .permute(0, 3, 4, 1, 5, 2)
            .reshape(len(signal), channels, rows * down, columns * right)
        )
        top, left = self.padding
        missing = (0, left + width - woven.shape[3], 0, top + height - woven.shape[2])
        return F.pad(woven, (-left, missing[1], -top, missing[3]))


def convolution(
    mode: Mode,
    values: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> tuple[Tensor, Reversal]:
    """`torch.nn.functional.conv2d`."""
    require_maps(values)
    strides, dilations = pair(stride), pair(dilation)
    if isinstance(padding, str):
        margins = [dilations[axis] * (weight.shape[2 + axis] - 1) for axis in (0, 1)]
        if padding == "same" and any(margin % 2 for margin in margins):
            raise UserError(
                "padding='same' with an even kernel pads one side more than the other: "
                "put an nn.ZeroPad2d before a convolution without padding."
            )
        paddings = (margins[0] // 2, margins[1] // 2) if padding == "same" else (0, 0)
    else:
        paddings = pair(padding)
    if mode.windows:
        paddings = (0, 0)
    output = F.conv2d(values, weight, bias, strides, paddings, dilations, groups)
    height, width = values.shape[2:]
    reversal = Convolution(weight, strides, paddings, dilations, groups, (height, width))
    return output, reversal


def convolution_module(mode: Mode, module: nn.Conv2d, values: Tensor) -> tuple[Tensor, Reversal]:
    """`nn.Conv2d` of any stride, padding, dilation and number of groups."""
    if module.padding_mode != "zeros":
        raise UserError(
            f"padding_mode='{module.padding_mode}' of a convolution has no rule, only 'zeros' has."
        )
    return convolution(
        mode,
        values,
        module.weight,
        module.bias,
        module.stride,
        module.padding,
        module.dilation,
        module.groups,
    )


@dataclass
class FullyConnected(Reversal):
    """Multiplication with the transposed weights."""

    weight: Tensor

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        return (signal @ self.weight,)


def fully_connected(
    mode: Mode, values: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Reversal]:
    """`torch.nn.functional.linear` of vectors `[N, C]`."""
    if values.dim() != 2:
        raise UserError(f"it expects vectors [N, C], but its input has shape {list(values.shape)}.")
    return F.linear(values, weight, bias), FullyConnected(weight)


def fully_connected_module(
    mode: Mode, module: nn.Linear, values: Tensor
) -> tuple[Tensor, Reversal]:
    """`nn.Linear`."""
    return fully_connected(mode, values, module.weight, module.bias)


@dataclass
class Scaling(Reversal):
    """Each value goes back times what it was multiplied with; what was added is left out."""

    #: A number, or `[C]`: one for each feature map.
    factor: float | Tensor

    @property
    def windowed(self) -> bool:
        return True

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        if isinstance(self.factor, Tensor):
            return (signal * self.factor.view(-1, *[1] * (signal.dim() - 2)),)
        return (signal * self.factor,)


def batch_norm(
    mode: Mode,
    values: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Tensor, Reversal]:
    """`torch.nn.functional.batch_norm` in evaluation mode.

    There it is linear and belongs to the filters before it, which the paper's network would have
    learned scaled: the signal is multiplied with `weight / sqrt(running_var + eps)`, whatever
    `mode.norm` says, and mean and bias take no part. A negative weight turns the sign.
    """
    if training or running_mean is None or running_var is None:
        raise UserError(
            "batch normalisation by the statistics of the batch has no rule: a unit's projection "
            "would depend on the other images."
        )
    output = F.batch_norm(values, running_mean, running_var, weight, bias, False, momentum, eps)
    scale = (running_var + eps).rsqrt()
    return output, Scaling(scale if weight is None else weight * scale)


def batch_norm_module(
    mode: Mode, module: nn.BatchNorm1d | nn.BatchNorm2d, values: Tensor
) -> tuple[Tensor, Reversal]:
    """`nn.BatchNorm2d` and its kin, in evaluation mode whatever mode they are in."""
    return batch_norm(
        mode,
        values,
        module.running_mean,
        module.running_var,
        module.weight,
        module.bias,
        eps=module.eps,
    )


def multiplication(mode: Mode, left: Any, right: Any) -> tuple[Tensor, Reversal]:
    """`left * right`, one of them a number."""
    values, number = (left, right) if isinstance(left, Tensor) else (right, left)
    if not isinstance(number, (int, float)):
        raise UserError("multiplication with anything but a number has no rule.")
    return values * number, Scaling(number)


def division(mode: Mode, left: Any, right: Any) -> tuple[Tensor, Reversal]:
    """`left / right` by a number."""
    if not isinstance(right, (int, float)):
        raise UserError("division by anything but a number has no rule.")
    return left / right, Scaling(1 / right)


@dataclass
class Addition(Reversal):
    """Each summand that comes from the image gets the whole signal."""

    summands: int

    @property
    def windowed(self) -> bool:
        return True

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        return (signal,) * self.summands


def addition(mode: Mode, left: Any, right: Any) -> tuple[Tensor, Reversal]:
    """`left + right`; a number among them is a bias, which the way down leaves out."""
    tensors = [term for term in (left, right) if isinstance(term, Tensor)]
    if len({term.shape for term in tensors}) > 1:
        raise UserError("addition of tensors of different shapes has no rule.")
    return left + right, Addition(len(tensors))


def identity(mode: Mode, values: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Reversal]:
    """What does nothing in evaluation mode, such as dropout."""
    return values, Unchanged()


def identity_module(mode: Mode, module: nn.Module, values: Tensor) -> tuple[Tensor, Reversal]:
    """A module that does nothing in evaluation mode."""
    return values, Unchanged()
