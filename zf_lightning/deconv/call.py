"""A call of an operation on the way up, and what running it gives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zf_lightning.deconv.backward import Method
from zf_lightning.deconv.locality import EVERYWHERE, POINTWISE, Locality
from zf_lightning.errors import UserError

#: A tensor, or several; and where it comes from.
Result = tuple[Any, Locality]
#: Operations of `LINEAR` that leave values where they are.
CASTS = frozenset({"to", "type_as", "float", "double", "half", "bfloat16"})


class NoRule(UserError):
    """An operation that a signal cannot go down through."""


@dataclass(frozen=True)
class Call:
    """A call of a function of FUNCTIONS."""

    method: Method
    #: The operation's locality in whole images, if it is run on crops, which hold its padding.
    crop: Locality | None
    name: str
    native: Any
    #: What it gives, or a blank of that shape, where that is known: its input may be a blank then.
    output: Tensor | None = None
    #: Of max pooling, where they are known.
    switches: Tensor | None = None
    #: Whether the signal that comes down to it is nobody else's, and may be changed in place.
    alone: bool = False

    def given(self, compute: Callable[[], Tensor]) -> Tensor:
        """The output as it is known, or computed without a gradient."""
        if self.output is not None:
            return self.output
        with torch.no_grad():
            return compute()


def derivative(call: Call, *args: Any, **kwargs: Any) -> Result:
    """Linear, or taken to be; nothing is said of what it sees."""
    support = POINTWISE if call.name in CASTS else EVERYWHERE
    return call.native(*args, **kwargs), Locality(support, in_crops=False)


def require_maps(values: Tensor) -> None:
    """Raise NoRule for what is not `[N, C, H, W]`."""
    if values.dim() != 4:
        raise NoRule(
            f"it expects feature maps [N, C, H, W], but its input has shape {list(values.shape)}."
        )
