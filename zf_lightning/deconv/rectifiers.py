"""Rules for ReLU and its relatives (Sec. 2.1, "Rectification").

The paper passes the signal through the non-linearity of the network, because what is reconstructed
are feature maps and these are positive. For a unit with another non-linearity f that means

- `deconvnet`: the signal goes through f itself, whatever the forward values were;
- `gradient`: it is multiplied with the derivative of f at the forward values;
- `guided`: both.

So a leaky ReLU, whose feature maps have both signs, keeps its slope for the signal's negative part.
Of ReLU6 the signal only meets the zero and not the six: a signal has no scale of its own (a seed
twice as strong must give a projection twice as strong), and 6 would be a scale. A unit that six
has cut off still sends its signal down, but not for `gradient` and `guided`, whose derivative is
zero there. Smooth non-linearities (GELU, SiLU, ELU, sigmoid, ...) have no rule: what the paper's
rectification would mean for them is not to be decided here.

Shapes: `[N, ...]` on the way up, N images; `[U, ...]` on the way down, U units.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from zf_lightning.deconv.reversal import Mode, Reversal
from zf_lightning.errors import UserError


@dataclass
class Rectification(Reversal):
    """The signal's own negative part is dropped (Sec. 2.1, "Rectification").

    The paper masks by the sign of the signal alone; masking by the sign of the forward values is
    back-propagation, and both together guided back-propagation (Springenberg et al. 2015).
    """

    rectify_signal: bool
    #: `[N, ...]` bool, where the input was let through; None if that does not matter.
    passed: Tensor | None
    #: What is left of a negative signal, and of a signal where the input was not let through.
    slope: float = 0.0

    @property
    def windowed(self) -> bool:
        return True

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        if self.rectify_signal:
            signal = F.leaky_relu(signal, self.slope) if self.slope else signal.clamp(min=0)
        if self.passed is not None:
            passed = self.passed[images]
            signal = signal.where(passed, self.slope * signal) if self.slope else signal * passed
        return (signal,)


def relu(mode: Mode, values: Tensor, inplace: bool = False) -> tuple[Tensor, Reversal]:
    """`torch.nn.functional.relu`; never in place, so that what was kept of the input stays."""
    passed = None if mode.rule == "deconvnet" else values > 0
    return F.relu(values), Rectification(mode.rule != "gradient", passed)


def relu_module(mode: Mode, module: nn.ReLU, values: Tensor) -> tuple[Tensor, Reversal]:
    """`nn.ReLU`."""
    return relu(mode, values)


def leaky_relu(
    mode: Mode, values: Tensor, negative_slope: float = 0.01, inplace: bool = False
) -> tuple[Tensor, Reversal]:
    """`torch.nn.functional.leaky_relu`, never in place."""
    passed = None if mode.rule == "deconvnet" else values > 0
    output = F.leaky_relu(values, negative_slope)
    return output, Rectification(mode.rule != "gradient", passed, negative_slope)


def leaky_relu_module(mode: Mode, module: nn.LeakyReLU, values: Tensor) -> tuple[Tensor, Reversal]:
    """`nn.LeakyReLU`."""
    return leaky_relu(mode, values, module.negative_slope)


def hardtanh(
    mode: Mode,
    values: Tensor,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
) -> tuple[Tensor, Reversal]:
    """`torch.nn.functional.hardtanh` from 0 on, which is a ReLU that is cut off; never in place."""
    if min_val != 0:
        raise UserError(f"hardtanh from {min_val} has no rule: only from 0 on is it a ReLU.")
    passed = None if mode.rule == "deconvnet" else (values > 0) & (values < max_val)
    return F.hardtanh(values, min_val, max_val), Rectification(mode.rule != "gradient", passed)


def hardtanh_module(mode: Mode, module: nn.Hardtanh, values: Tensor) -> tuple[Tensor, Reversal]:
    """`nn.ReLU6`, and `nn.Hardtanh` from 0 on."""
    return hardtanh(mode, values, module.min_val, module.max_val)


def relu6(mode: Mode, values: Tensor, inplace: bool = False) -> tuple[Tensor, Reversal]:
    """`torch.nn.functional.relu6`, never in place."""
    return hardtanh(mode, values, 0.0, 6.0)
