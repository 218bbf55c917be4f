"""Backward rules: the operations that do not go back by their derivative (Sec. 2.1).

There are two kinds. A rectifier passes the signal on as the method says, and contrast normalisation
lets it through unchanged. Everything else goes back exactly as autograd takes it. Convolution, max
pooling and batch normalisation have the same derivative here, written out for another reason:

- convolution as one transposed convolution is faster than autograd's, which also keeps its input;
- max pooling keeps its switches only, not its input, and adds in a fixed order on a GPU too;
- batch normalisation keeps one number a map.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from zf_lightning.errors import UserError

MethodName = Literal["deconvnet", "guided", "gradient"]
NormName = Literal["identity", "jacobian"]
Pair = tuple[int, int]
#: Positions from which on a transposed convolution on a CPU is worth having its channels last: for
#: conv2 of ZFNet, in crops of conv4 and conv5, it takes a quarter less time.
MANY = 64


@dataclass(frozen=True)
class Method:
    """How a signal goes down through what is not linear.

    Args:
        name: what a ReLU does to the signal. `deconvnet` rectifies it, whatever the ReLU's own
            input was (Sec. 2.1); `gradient` blocks it where that input was negative; `guided` does
            both (Springenberg et al. 2015). `rectify` says what its relatives do.
        norm: what contrast normalisation does to the signal. `identity` passes it through (ECCV
            text), `jacobian` takes the derivative. Batch normalisation has its scale either way.

    Raises:
        UserError: one of them has no such value.
    """

    name: MethodName = "deconvnet"
    norm: NormName = "identity"

    def __post_init__(self) -> None:
        for option, value, known in (
            ("method", self.name, get_args(MethodName)),
            ("norm", self.norm, get_args(NormName)),
        ):
            if value not in known:
                raise UserError(f"{option}={value} is unknown: choose one of {', '.join(known)}.")


class _WithBackward(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor, output: Tensor, backward: Any) -> Tensor:
        context.backward_rule = backward
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, signal: Tensor) -> tuple[Tensor, None, None]:
        return context.backward_rule(signal), None, None


def with_backward(values: Tensor, output: Tensor, backward: Callable[[Tensor], Tensor]) -> Tensor:
    """`output`, computed from `values` without a gradient, with a backward rule.

    `backward` takes the signal at the output and gives that at `values`.
    """
    found: Tensor = _WithBackward.apply(values, output, backward)
    return found


def rectify(
    method: Method,
    values: Tensor,
    *,
    slope: float = 0.0,
    top: float = math.inf,
    output: Tensor | None = None,
    alone: bool = False,
) -> Tensor:
    """ReLU and its relatives: `slope` below 0 (leaky ReLU), cut off at `top` (ReLU6).

    The paper passes the signal through the network's own non-linearity f, because it reconstructs
    feature maps, which are positive. So, whatever f is:

    - `deconvnet`: the signal goes through f itself, whatever the forward values were;
    - `gradient`: it is multiplied with the derivative of f at the forward values;
    - `guided`: both.

    A leaky ReLU, whose feature maps have both signs, keeps its slope for a negative signal. The
    cut at `top` does not apply to the signal, which has no scale of its own: a seed twice as strong
    must give a projection twice as strong. For `gradient` and `guided` the derivative is zero above
    `top`.
    """
    with torch.no_grad():
        if output is None:
            output = F.leaky_relu(values, slope) if slope else values.clamp(0, top)
        passed = None
        if method.name != "deconvnet":
            # Where a ReLU gives something its input was positive, which need not be known.
            at = values if slope else output
            passed = (at > 0) & (at < top) if top < math.inf else at > 0

    def backward(signal: Tensor) -> Tensor:
        if method.name != "gradient":
            if slope:
                signal = F.leaky_relu(signal, slope)
            else:
                signal = signal.clamp_(min=0) if alone else signal.clamp(min=0)
        if passed is not None:
            signal = signal.where(passed, slope * signal) if slope else signal * passed
        return signal

    return with_backward(values, output, backward)


def convolve(
    values: Tensor,
    output: Tensor,
    weight: Tensor,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Tensor:
    """Convolution; the signal goes down through the same filters transposed (Sec. 2.1)."""
    height, width = values.shape[2:]

    def backward(signal: Tensor) -> Tensor:
        if groups == 1 and padding == (0, 0) and weight.shape[2:] == values.shape[2:]:
            # The filters see all of their input, as those of units in crops: a matrix product.
            whole = signal.flatten(1) @ weight.flatten(1)
            return whole.view_as(values)
        # So thin an input, as an image is, libraries are slow to fill.
        if groups == 1 and dilation == (1, 1) and max(stride) > 1 and weight.shape[1] <= 4:
            return _transpose_by_phases(signal, weight, stride, padding, (height, width))
        if signal.device.type == "cpu" and groups == 1 and signal[0, 0].numel() > MANY:
            signal = signal.contiguous(memory_format=torch.channels_last)
        # Pixels at the right and the bottom that no filter reaches get nothing.
        unreached = [
            (height, width)[axis]
            - (signal.shape[2 + axis] - 1) * stride[axis]
            + 2 * padding[axis]
            - dilation[axis] * (weight.shape[2 + axis] - 1)
            - 1
            for axis in (0, 1)
        ]
        return F.conv_transpose2d(
            signal, weight, None, stride, padding, unreached, groups, dilation
        )

    return with_backward(values, output, backward)


def _transpose_by_phases(
    signal: Tensor, weight: Tensor, stride: Pair, padding: Pair, size: Pair
) -> Tensor:
    """The transposed convolution as an ordinary one, which computes pixels in groups.

    The pixels `row % stride == p` see the filter rows p, p + stride, ... only: each pair of such
    phases is an output map of one convolution without stride, and they are then woven together.
    For conv1 of ZFNet it takes a third of the time on a CPU.
    """
    maps, channels, *kernel = weight.shape
    (down, right), (height, width) = stride, size
    taps = -(-kernel[0] // down), -(-kernel[1] // right)
    filled = F.pad(weight, (0, taps[1] * right - kernel[1], 0, taps[0] * down - kernel[0]))
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
    top, left = padding
    return F.pad(woven, (-left, left + width - woven.shape[3], -top, top + height - woven.shape[2]))


def keep_switches(
    values: Tensor, output: Tensor, switches: Tensor, extent: Pair, stride: Pair
) -> Tensor:
    """Max pooling: each value of the signal returns to its switch (Sec. 2.1, "Unpooling").

    Windows of 3×3, 2 apart, share switches; values that meet at one add. `nn.MaxUnpool2d` would
    overwrite there, in no fixed order.

    Args:
        switches: `[N, C, h, w]`, the place of each maximum in its flattened input map; what is
            returned has them as an attribute.
        extent: the largest pooling window.
        stride: the shortest step between two of them.
    """
    shape = values.shape

    def backward(signal: Tensor) -> Tensor:
        if signal.device.type == "cpu":
            return _unpool(signal, switches, shape)
        return unpool_apart(signal, switches, shape, disjoint_windows(extent, stride))

    found = with_backward(values, output, backward)
    found.switches = switches  # type: ignore[attr-defined]
    return found


def _unpool(signal: Tensor, switches: Tensor, shape: Sequence[int]) -> Tensor:
    """Each value of the signal at its switch in maps of a shape `[N, C, H, W]`, added in order.

    This is PyTorch's way back of a pooling whose windows it need not know. On a CPU it takes half
    the time of `scatter_add_`, for the same sums.
    """
    last = signal.is_contiguous(memory_format=torch.channels_last)
    # Its channels stay last: to move them takes as long as the rest.
    layout = torch.channels_last if last else torch.contiguous_format
    pixels = torch.empty(*shape, dtype=signal.dtype, memory_format=layout)
    unpool = torch.ops.aten.adaptive_max_pool2d_backward.grad_input
    # Of the maps below it asks for the shape alone: no memory is needed beside its result's.
    return unpool(signal, pixels, switches, grad_input=pixels)


def unpool_apart(
    signal: Tensor, switches: Tensor, shape: Sequence[int], windows: Sequence[tuple[slice, slice]]
) -> Tensor:
    """The same by sets of pooling windows that share no switch, one set after the other.

    On a GPU values that meet would be added in any order: so the sums are the same in every run.
    """
    pixels = signal.new_zeros(*shape[:2], shape[2] * shape[3])
    for rows, columns in windows:
        some = (values[:, :, rows, columns].flatten(2) for values in (switches, signal))
        pixels.scatter_add_(2, *some)
    return pixels.view(*shape)


def disjoint_windows(extent: Pair, stride: Pair) -> list[tuple[slice, slice]]:
    """Sets of pooling windows that share no switch, as rows and columns of the pooled map."""
    apart = [math.ceil(extent[axis] / stride[axis]) for axis in (0, 1)]
    return [
        (slice(row, None, apart[0]), slice(column, None, apart[1]))
        for row in range(apart[0])
        for column in range(apart[1])
    ]


def scale_maps(values: Tensor, output: Tensor, scale: Tensor) -> Tensor:
    """Batch normalisation by fixed statistics: the signal is multiplied with `scale` `[C]`."""
    return with_backward(
        values,
        output,
        lambda signal: signal * scale.view(1, -1, *(1 for _ in signal.shape[2:])),
    )


def pass_through(values: Tensor, output: Tensor) -> Tensor:
    """The signal goes through unchanged: contrast normalisation in the ECCV text."""
    return with_backward(values, output, lambda signal: signal)
