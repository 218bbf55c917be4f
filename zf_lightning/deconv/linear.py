"""Rules for what is linear: the signal goes down through the transpose, without the bias.

Shapes: `[N, C, H, W]` on the way up, N images; `[U, C, H, W]` on the way down, U units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zf_lightning.deconv.reversal import EVERYWHERE, UNKNOWN, Mode, Reversal, Support, Unchanged
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
    def support(self) -> Support:
        height, width = self.weight.shape[2:]
        return Support(
            (self.dilation[0] * (height - 1) + 1, self.dilation[1] * (width - 1) + 1),
            self.stride,
            (-self.padding[0], -self.padding[1]),
        )

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
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
class Reshape(Reversal):
    """Each value goes back to where it was."""

    input_shape: torch.Size
    output_shape: torch.Size

    @property
    def support(self) -> Support | Literal["everywhere", "unknown"]:
        if self.input_shape[2:] == self.output_shape[2:]:
            return Support()
        return EVERYWHERE if len(self.output_shape) == 2 else UNKNOWN

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        return (signal.reshape(len(signal), *self.input_shape[1:]),)


def _reshaped(values: Tensor, output: Tensor) -> tuple[Tensor, Reversal]:
    if output.shape[:1] != values.shape[:1]:
        raise UserError(
            f"it turns {list(values.shape)} into {list(output.shape)}: "
            "the images of a batch must stay apart."
        )
    return output, Reshape(values.shape, output.shape)


def flatten(
    mode: Mode, values: Tensor, start_dim: int = 0, end_dim: int = -1
) -> tuple[Tensor, Reversal]:
    """`torch.flatten`, images kept apart."""
    return _reshaped(values, values.flatten(start_dim, end_dim))


def flatten_module(mode: Mode, module: nn.Flatten, values: Tensor) -> tuple[Tensor, Reversal]:
    """`nn.Flatten`."""
    return flatten(mode, values, module.start_dim, module.end_dim)


def reshape(mode: Mode, values: Tensor, *shape: Any) -> tuple[Tensor, Reversal]:
    """`torch.reshape` and `Tensor.view`, images kept apart."""
    return _reshaped(values, values.reshape(*shape))


@dataclass
class Padding(Reversal):
    """The border that was added is cut off (or, for negative padding, given back)."""

    #: Left, right, top, bottom.
    padding: tuple[int, int, int, int]

    @property
    def support(self) -> Support:
        return Support(offset=(-self.padding[2], -self.padding[0]))

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        return (F.pad(signal, [-side for side in self.padding]),)


def zero_padding(
    mode_: Mode,
    values: Tensor,
    pad: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
) -> tuple[Tensor, Reversal]:
    """`torch.nn.functional.pad` of feature maps; `pad` is left, right, top, bottom."""
    require_maps(values)
    if mode != "constant" or value or len(pad) > 4:
        raise UserError("only padding of height and width with zeros has a rule.")
    left, right, top, bottom = (*pad, 0, 0)[:4]
    sides = (left, right, top, bottom)
    return F.pad(values, sides), Padding(sides)


def zero_padding_module(
    mode: Mode, module: nn.ZeroPad2d, values: Tensor
) -> tuple[Tensor, Reversal]:
    """`nn.ZeroPad2d`."""
    return zero_padding(mode, values, module.padding)


@dataclass
class Addition(Reversal):
    """Each summand that comes from the image gets the whole signal."""

    summands: int

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        return (signal,) * self.summands


def addition(mode: Mode, left: Any, right: Any) -> tuple[Tensor, Reversal]:
    """`left + right`; a number among them is a bias, which the way down leaves out."""
    tensors = [term for term in (left, right) if isinstance(term, Tensor)]
    if len({term.shape for term in tensors}) > 1:
        raise UserError("addition of tensors of different shapes has no rule.")
    return left + right, Addition(len(tensors))


@dataclass
class Concatenation(Reversal):
    """Each part takes its own feature maps."""

    channels: tuple[int, ...]

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        return signal.split(self.channels, dim=1)


def concatenation(mode: Mode, tensors: Sequence[Tensor], dim: int = 0) -> tuple[Tensor, Reversal]:
    """`torch.cat` of feature maps."""
    if dim % tensors[0].dim() != 1:
        raise UserError("concatenation along anything but the feature maps has no rule.")
    return torch.cat(list(tensors), dim), Concatenation(tuple(part.shape[1] for part in tensors))


def identity(mode: Mode, values: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Reversal]:
    """What does nothing in evaluation mode, such as dropout."""
    return values, Unchanged()


def identity_module(mode: Mode, module: nn.Module, values: Tensor) -> tuple[Tensor, Reversal]:
    """A module that does nothing in evaluation mode."""
    return values, Unchanged()
