"""Contrast normalisation between feature maps, several times as fast as `nn.LocalResponseNorm`.

The same function (Krizhevsky et al. 2012; the paper's constants are not stated):
`y = x / (k + alpha / n · sum of x² over n neighbouring feature maps) ^ beta`.

It does little arithmetic on much memory. So it goes over the batch in blocks that stay in a
processor's cache, adds shifted feature maps in place, and keeps nothing but its input for the way
back. Numbers of 16 bits are computed with 32.
"""

from typing import Any

import torch
from torch import Tensor, nn

#: Values a block on a CPU: 1 MB of float32.
BLOCK = 2**18


class LocalResponseNorm(nn.LocalResponseNorm):
    """`nn.LocalResponseNorm` for feature maps `[N, C, ...]`, same arguments and same result."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise feature maps; shape and type stay."""
        return contrast_normalisation(input, self.size, self.alpha, self.beta, self.k)


def contrast_normalisation(
    values: Tensor, size: int, alpha: float, beta: float, k: float
) -> Tensor:
    """`torch.nn.functional.local_response_norm`, with its gradient."""
    found: Tensor = _Normalised.apply(values, size, alpha, beta, k)
    return found


def normalisation_gradient(
    signal: Tensor, values: Tensor, size: int, alpha: float, beta: float, k: float
) -> Tensor:
    """The signal at the input, given that at the output and the input `values`, `[N, C, ...]`."""
    found = torch.empty_like(values)
    # Feature map c is in the sum of those that have c among their neighbours: the window the
    # other way round.
    before, after = (size - 1) // 2, size // 2
    for block in _blocks(values):
        x, g = _wide(values[block]), _wide(signal[block])
        denominator = _denominator(x, size, alpha, k)
        g = g * _power(denominator.clone(), beta)
        shared = _sum_over_maps((g * x).div_(denominator), before, after)
        found[block] = g.sub_(shared.mul_(x), alpha=2 * alpha / size * beta)
    return found


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, values: Tensor, size: int, alpha: float, beta: float, k: float
    ) -> Tensor:
        context.save_for_backward(values)
        context.constants = (size, alpha, beta, k)
        found = torch.empty_like(values)
        for block in _blocks(values):
            x = _wide(values[block])
            found[block] = _power(_denominator(x, size, alpha, k), beta).mul_(x)
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, signal: Tensor) -> tuple[Tensor, None, None, None, None]:
        (values,) = context.saved_tensors
        gradient = normalisation_gradient(signal, values, *context.constants)
        return gradient, None, None, None, None


def _blocks(values: Tensor) -> list[slice]:
    # A compiler finds blocks of its own, and would write out each of ours.
    if values.device.type != "cpu" or not values.numel() or torch.compiler.is_compiling():
        return [slice(None)]
    step = max(1, BLOCK // values[0].numel())
    return [slice(start, start + step) for start in range(0, len(values), step)]


def _wide(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _denominator(values: Tensor, size: int, alpha: float, k: float) -> Tensor:
    sums = _sum_over_maps(values * values, size // 2, (size - 1) // 2)
    return sums.mul_(alpha / size).add_(k)


def _power(denominator: Tensor, beta: float) -> Tensor:
    """`denominator ** -beta`, overwriting it."""
    if beta != 0.75:
        return denominator.pow_(-beta)
    # Roots take a third of the time of a power.
    root = denominator.rsqrt_()
    return root.mul_(root.sqrt())


def _sum_over_maps(values: Tensor, before: int, after: int) -> Tensor:
    """Sum of each feature map with its `before` predecessors and `after` successors."""
    sums, maps = values.clone(), values.shape[1]
    for distance in range(1, min(before, maps - 1) + 1):
        sums[:, distance:] += values[:, : maps - distance]
    for distance in range(1, min(after, maps - 1) + 1):
        sums[:, : maps - distance] += values[:, distance:]
    return sums
