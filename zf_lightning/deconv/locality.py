"""Locality: which positions of its input one position of an operation's output sees."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Pair = tuple[int, int]
#: The axes of rows and columns of `[N, C, H, W]`.
STANDARD: Pair = (2, 3)


@dataclass(frozen=True)
class Support:
    """The input positions that an output position sees, the same for all, on each axis.

    Output position `i` sees the `extent` input positions from `i * stride + offset` on, as
    `(vertical, horizontal)`; some of them may lie beyond the border.
    """

    extent: Pair = (1, 1)
    stride: Pair = (1, 1)
    offset: Pair = (0, 0)


POINTWISE = Support()
#: Each output position sees the whole input, or is taken to: the output has no positions, windows
#: of different sizes, or positions that have no such relation to those of the input.
EVERYWHERE: Literal["everywhere"] = "everywhere"


@dataclass(frozen=True)
class Locality:
    """Where an operation's output comes from, and whether it can be run on crops of its input.

    Args:
        support: which input positions an output position sees.
        in_crops: whether the operation gives the same on crops of feature maps, without the
            padding that is then already in them. If not, units above it are projected from whole
            images.
        border_value: what the operation sees beyond the border of its input.
        axes: of rows and columns in its output.
        held: whether its output is a constant on the way down, as a gate is.
        gated: whether it multiplies with gates of whole maps, which in crops are those of the
            whole image.
    """

    support: Support | Literal["everywhere"] = POINTWISE
    in_crops: bool = True
    border_value: float = 0.0
    axes: Pair = STANDARD
    held: bool = False
    gated: bool = False


def axes_of(value: Tensor) -> Pair | None:
    """The axes of a value's rows and columns; None of what is known to have none."""
    default = STANDARD if value.dim() == 4 else None
    found: Pair | None = getattr(value, "position_axes", default)
    return found


def positions_of(value: Tensor, axes: Pair) -> Pair:
    """How many rows and columns a value has."""
    return value.shape[axes[0]], value.shape[axes[1]]


def along(values: Tensor, dims: Collection[int], *, keepdim: bool = True) -> Locality:
    """Of what is computed along some axes: on single positions, if these are not among them."""
    axes = axes_of(values)
    if axes is None or not keepdim or {dim % values.dim() for dim in dims} & {0, *axes}:
        return Locality(EVERYWHERE, in_crops=False)
    return Locality()


def combined(parts: Sequence[Locality]) -> Locality:
    """The locality of several operations in a row, of which one at most is not pointwise."""
    if any(part.gated for part in parts):
        return Locality(EVERYWHERE, in_crops=False)
    wider = [part for part in parts if part.support != POINTWISE or part.border_value]
    # What comes before it would change what lies beyond the border.
    in_crops = all(part.in_crops for part in parts) and wider in ([], [*parts[:1]])
    if len(wider) > 1:
        return Locality(EVERYWHERE, in_crops=False)
    first = wider[0] if wider else Locality()
    return Locality(first.support, in_crops, first.border_value)


def pair(number: int | Sequence[int]) -> Pair:
    """The vertical and the horizontal value of an option that may be given once for both."""
    if isinstance(number, int):
        return number, number
    return (number[0], number[1]) if len(number) > 1 else (number[0], number[0])
