"""Rules for what only moves values: reshaping, indexing, padding, concatenation.

Shapes: `[N, ...]` on the way up, N images; `[U, ...]` on the way down, U units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zf_lightning.deconv.linear import require_maps
from zf_lightning.deconv.reversal import EVERYWHERE, UNKNOWN, Mode, Reversal, Support
from zf_lightning.errors import UserError


@dataclass
class Reshape(Reversal):
    """Each value goes back to where it was."""

    input_shape: torch.Size
    output_shape: torch.Size

    @property
    def support(self) -> Support | Literal["everywhere", "unknown"]:
        if _positions(self.input_shape) == _positions(self.output_shape):
            return Support()
        return EVERYWHERE if len(self.output_shape) == 2 else UNKNOWN

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        return (signal.reshape(len(signal), *self.input_shape[1:]),)


def _positions(shape: torch.Size) -> tuple[int, ...]:
    """Height and width of what has this shape; a vector has one position."""
    return tuple(shape[-2:]) if len(shape) > 2 else (1, 1)


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


def unsqueeze(mode: Mode, values: Tensor, dim: int) -> tuple[Tensor, Reversal]:
    """`torch.unsqueeze` behind the images."""
    if dim % (values.dim() + 1) == 0:
        raise UserError("a new dimension before that of the images has no rule.")
    return _reshaped(values, values.unsqueeze(dim))


def squeeze(mode: Mode, values: Tensor, dim: int | Sequence[int]) -> tuple[Tensor, Reversal]:
    """`torch.squeeze` of named dimensions: of all, it would depend on the number of images."""
    return _reshaped(values, values.squeeze(dim if isinstance(dim, int) else tuple(dim)))


@dataclass
class Indexing(Reversal):
    """What was taken out goes back to its place; the rest gets nothing."""

    index: tuple[int | slice, ...]
    input_shape: torch.Size

    @property
    def support(self) -> Support | Literal["unknown"]:
        return Support() if all(part == slice(None) for part in self.index[2:]) else UNKNOWN

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        values = signal.new_zeros(len(signal), *self.input_shape[1:])
        values[self.index] = signal
        return (values,)


def indexing(mode: Mode, values: Tensor, index: Any) -> tuple[Tensor, Reversal]:
    """`values[:, index, ...]` with numbers and slices, of every image."""
    parts = index if isinstance(index, tuple) else (index,)
    plain = bool(parts) and all(isinstance(part, (int, slice)) for part in parts)
    if not plain or parts[0] != slice(None):
        raise UserError(
            "indexing has no rule but for numbers and slices of every image, values[:, ...]."
        )
    return values[parts], Indexing(parts, values.shape)


@dataclass
class Padding(Reversal):
    """The border that was added is cut off (or, for negative padding, given back)."""

    #: Left, right, top, bottom.
    padding: tuple[int, int, int, int]

    @property
    def windowed(self) -> bool:
        return True

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
    if mode_.windows:
        sides = (0, 0, 0, 0)
    return F.pad(values, sides), Padding(sides)


def zero_padding_module(
    mode: Mode, module: nn.ZeroPad2d, values: Tensor
) -> tuple[Tensor, Reversal]:
    """`nn.ZeroPad2d`."""
    return zero_padding(mode, values, module.padding)


@dataclass
class Concatenation(Reversal):
    """Each part takes its own feature maps."""

    channels: tuple[int, ...]

    @property
    def windowed(self) -> bool:
        return True

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        return signal.split(self.channels, dim=1)


def concatenation(mode: Mode, tensors: Sequence[Tensor], dim: int = 0) -> tuple[Tensor, Reversal]:
    """`torch.cat` of feature maps."""
    if dim % tensors[0].dim() != 1:
        raise UserError("concatenation along anything but the feature maps has no rule.")
    return torch.cat(list(tensors), dim), Concatenation(tuple(part.shape[1] for part in tensors))
