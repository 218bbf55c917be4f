"""What it means to reverse one operation: the pieces that every rule is made of (Sec. 2.1)."""

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from zf_lightning.errors import UserError

RuleName = Literal["deconvnet", "guided", "gradient"]
NormName = Literal["identity", "jacobian"]


@dataclass(frozen=True)
class Mode:
    """How a signal goes down through what is not linear.

    Args:
        rule: what a ReLU does to the signal. `deconvnet`: it rectifies the signal, whatever its
            own input was (Sec. 2.1); `guided`: it also blocks it where its input was negative
            (Springenberg et al. 2015); `gradient`: it does only that. For its relatives see
            `rectifiers`.
        norm: what contrast normalisation does to the signal. `identity`: nothing (ECCV text);
            `jacobian`: the derivative. Batch normalisation has its scale either way.
        windows: whether the values are windows cut out of feature maps (see `windows`): what pads
            a map is already in them, so that an operation adds none of its own.

    Raises:
        UserError: one of them has no such value.
    """

    rule: RuleName = "deconvnet"
    norm: NormName = "identity"
    windows: bool = False

    def __post_init__(self) -> None:
        for name, values in (("rule", get_args(RuleName)), ("norm", get_args(NormName))):
            if getattr(self, name) not in values:
                raise UserError(
                    f"{name}={getattr(self, name)} is not known: choose one of {', '.join(values)}."
                )


@dataclass(frozen=True)
class Support:
    """Which positions of its input one position of an operation's output sees, on each axis.

    Output position `i` sees the `extent` input positions from `i * stride + offset` on, as
    `(vertical, horizontal)`; some of them may lie beyond the border.
    """

    extent: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    offset: tuple[int, int] = (0, 0)


POINTWISE = Support()
#: Each unit of the output sees the whole input, or is taken to: the output has no positions, or
#: windows that differ in size.
EVERYWHERE: Literal["everywhere"] = "everywhere"
#: The positions of output and input have no such relation (it can still be reversed).
UNKNOWN: Literal["unknown"] = "unknown"


class Reversal:
    """The way down through one operation, for the images it has just seen.

    A rule makes one on the way up. It keeps what the way down needs (switches, a mask, a shape)
    for each image, and knows nothing of units: any number of units of the same image share it.
    """

    @property
    def support(self) -> Support | Literal["everywhere", "unknown"]:
        """Which input positions an output position sees: for most operations, its own."""
        return POINTWISE

    @property
    def windowed(self) -> bool:
        """Whether the rule also takes windows cut out of feature maps, as `Mode.windows` says.

        Without it, units above the operation are projected from whole images.
        """
        return False

    @property
    def border_value(self) -> float:
        """What the operation sees beyond the border of its input."""
        return 0.0

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        """The signal at each of the operation's inputs.

        Args:
            signal: `[U, C, H, W]` or `[U, C]` at the output, one row a unit.
            images: `[U]` int64, the image that each unit belongs to.
        """
        raise NotImplementedError


@dataclass
class Unchanged(Reversal):
    """The signal goes through: dropout, contrast normalisation in the ECCV text."""

    @property
    def windowed(self) -> bool:
        return True

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        return (signal,)
