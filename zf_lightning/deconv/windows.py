"""Units computed where they are: the network run and reversed on what each unit sees alone.

A unit of a convolutional layer sees a window of every feature map below it. All units of a layer
have windows of one size, whatever their image and position, so that they make one batch: pixels
are cut out around each unit, the network is run on them without its padding, and what comes out is
one position, the unit. The way down is then the ordinary one. Where a window reaches beyond the
border of a feature map it holds what the next operation would see there, so that the result is
that of whole images, also at the borders.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from zf_lightning.deconv.graph import Graph
from zf_lightning.deconv.receptive_field import Pair, crop
from zf_lightning.deconv.recording import Recording, Step
from zf_lightning.deconv.reversal import POINTWISE, Mode, Reversal, Support


@dataclass(frozen=True)
class MapWindow:
    """What units of one layer see of the feature maps of a node, as `(vertical, horizontal)`.

    The unit at `(row, column)` sees `size` positions from `offset + (row, column) * jump` on.
    """

    size: Pair
    jump: Pair
    offset: Pair
    map_size: Pair

    def starts(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """First row and first column `[U]`, possibly negative."""
        return self.offset[0] + rows * self.jump[0], self.offset[1] + columns * self.jump[1]


@dataclass(frozen=True)
class WindowPlan:
    """The windows of a layer's units at every node below it, from the input on."""

    layer: str
    nodes: dict[fx.Node, MapWindow]
    #: Number of feature maps of the layer.
    feature_maps: int
    supports: Mapping[fx.Node, Support]
    border_values: Mapping[fx.Node, float]
    #: Values computed in a unit's windows, as a share of those of a whole image.
    share: float

    @property
    def map_size(self) -> Pair:
        """Height and width of the layer's feature maps."""
        return list(self.nodes.values())[-1].map_size


def plan_windows(graph: Graph, recording: Recording, layer: str) -> WindowPlan | None:
    """The windows of a layer's units, for images of the recorded size.

    None where units are not to be computed in windows: an operation below them has no position or
    no rule for windows, or branches of different stride meet.
    """
    target = recording.nodes[layer]
    if graph.asks_for_sizes(target) or len(recording.steps[target].shape) != 3:
        return None
    found = {target: MapWindow((1, 1), (1, 1), (0, 0), _map_size(recording, target))}
    supports: dict[fx.Node, Support] = {}
    border_values: dict[fx.Node, float] = {}
    inside, everything = 0, 0
    for node in reversed(recording.steps):
        if node not in found:
            continue
        step, window = recording.steps[node], found[node]
        support = step.reversal.support
        if not step.reversal.windowed or not isinstance(support, Support) or len(step.shape) != 3:
            return None
        supports[node], border_values[node] = support, step.reversal.border_value
        inside += step.shape[0] * window.size[0] * window.size[1]
        everything += step.shape[0] * step.shape[1] * step.shape[2]
        below = _below(window, support)
        for source in step.sources:
            other = found.get(source)
            if other is not None and other.jump != below.jump:
                return None
            found[source] = replace(_union(below, other), map_size=_map_size(recording, source))
    order = [graph.input, *(node for node in recording.steps if node in found)]
    return WindowPlan(
        layer,
        {node: found[node] for node in order},
        recording.steps[target].shape[0],
        supports,
        border_values,
        inside / everything,
    )


class Positions:
    """Units of one layer in a batch of images, and which of their windows cross a border.

    Args:
        images, rows, columns: `[U]` int64.
    """

    def __init__(self, images: Tensor, rows: Tensor, columns: Tensor) -> None:
        self.images, self.rows, self.columns = images, rows, columns
        # Read once: on a GPU each reading waits for all that is under way.
        ends = torch.stack([rows.amin(), rows.amax(), columns.amin(), columns.amax()]).tolist()
        self._ends = ((ends[0], ends[1]), (ends[2], ends[3]))
        self._known: dict[MapWindow, Tensor | None] = {}

    def beyond(self, window: MapWindow) -> Tensor | None:
        """`[U, 1, h, w]` bool, True beyond the border; None if no window reaches there."""
        if window not in self._known:
            self._known[window] = self._beyond(window) if self._crosses(window) else None
        return self._known[window]

    def _crosses(self, window: MapWindow) -> bool:
        return any(
            window.offset[axis] + first * window.jump[axis] < 0
            or window.offset[axis] + last * window.jump[axis] + window.size[axis]
            > window.map_size[axis]
            for axis, (first, last) in enumerate(self._ends)
        )

    def _beyond(self, window: MapWindow) -> Tensor:
        found = []
        for starts, size, length in zip(
            window.starts(self.rows, self.columns), window.size, window.map_size, strict=True
        ):
            at = starts[:, None] + torch.arange(size, device=starts.device)
            found.append((at < 0) | (at >= length))
        return (found[0][:, :, None] | found[1][:, None, :])[:, None]


@dataclass
class Windowed(Reversal):
    """An operation on windows: the signal goes back to where its inputs were cut out of theirs."""

    whole: Reversal
    #: For each input: left, right, top and bottom of what was cut off, ...
    paddings: tuple[tuple[int, int, int, int], ...]
    #: ... and where it lay beyond the border, `[U, 1, h, w]` bool, if it did.
    beyond: tuple[Tensor | None, ...]

    def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        parts = self.whole.reverse(signal, images)
        return tuple(
            _padded(_filled(part, beyond, 0.0), padding)
            for part, padding, beyond in zip(parts, self.paddings, self.beyond, strict=True)
        )


def record_windows(
    graph: Graph, plan: WindowPlan, mode: Mode, images: Tensor, units: Positions
) -> Recording:
    """Run the windows of units up to them; the recording's output is `[U, C, 1, 1]`.

    Args:
        images: `[N, 3, H, W]`, of which `units` name some.

    Each unit is an image of the recording, and its window at the input is the recorded image.
    """
    mode = replace(mode, windows=True)
    inputs = plan.nodes[graph.input]
    pixels, _ = crop(images, units.images, *inputs.starts(units.rows, units.columns), inputs.size)

    # On a CPU max pooling is fifteen times as fast so, convolution twice.
    pixels = pixels.contiguous(memory_format=torch.channels_last)

    def run(node: fx.Node, values: Mapping[fx.Node, Any]) -> tuple[Tensor, Step]:
        window, support = plan.nodes[node], plan.supports[node]
        sees = _below(window, support)
        taken, paddings, beyond = dict(values), [], []
        sources = graph.sources(node)
        # Beyond the border an operation on single positions hands on what is never looked at.
        # Padding at the right and the bottom is on single positions too, but moves the border.
        spatial = support != POINTWISE or any(
            plan.nodes[source].map_size != window.map_size for source in sources
        )
        for source in sources:
            whole = plan.nodes[source]
            part = replace(sees, map_size=whole.map_size)
            paddings.append(_padding(part, whole))
            mask = units.beyond(part) if spatial else None
            beyond.append(mask)
            cut = _padded(values[source], paddings[-1], cut=True)
            taken[source] = _filled(cut, mask, plan.border_values[node])
        output, step = graph.run_rule(node, taken, mode)
        if plan.border_values[node]:
            # Times a signal of zero, infinities would be NaN.
            output = _filled(output, units.beyond(window), 0.0)
        return output, replace(
            step, reversal=Windowed(step.reversal, tuple(paddings), tuple(beyond))
        )

    nodes = {plan.layer: list(plan.nodes)[-1]}
    return graph.walk(pixels, nodes, mode, run)


def _filled(values: Tensor, where: Tensor | None, value: float) -> Tensor:
    # Not masked_fill, which would lose the memory format.
    return values if where is None else values.clone().masked_fill_(where, value)


def _padded(values: Tensor, sides: tuple[int, int, int, int], *, cut: bool = False) -> Tensor:
    if not any(sides):
        return values
    return F.pad(values, [-side for side in sides] if cut else sides)


def _padding(part: MapWindow, whole: MapWindow) -> tuple[int, int, int, int]:
    """Left, right, top, bottom: what a window has around a part of it."""
    before = [part.offset[axis] - whole.offset[axis] for axis in (0, 1)]
    after = [whole.size[axis] - part.size[axis] - before[axis] for axis in (0, 1)]
    return before[1], after[1], before[0], after[0]


def _map_size(recording: Recording, node: fx.Node) -> Pair:
    if node not in recording.steps:
        return recording.input_size
    shape = recording.steps[node].shape
    return shape[-2], shape[-1]


def _below(window: MapWindow, support: Support) -> MapWindow:
    """What the positions of a window see of an operation's input."""

    def both(first: Pair, factor: Pair, number: Pair) -> Pair:
        return first[0] + factor[0] * number[0], first[1] + factor[1] * number[1]

    steps = (window.size[0] - 1, window.size[1] - 1)
    return MapWindow(
        both(support.extent, support.stride, steps),
        both((0, 0), window.jump, support.stride),
        both(support.offset, window.offset, support.stride),
        (0, 0),
    )


def _union(window: MapWindow, other: MapWindow | None) -> MapWindow:
    if other is None:
        return window
    starts = [min(window.offset[axis], other.offset[axis]) for axis in (0, 1)]
    ends = [max(one.offset[axis] + one.size[axis] for one in (window, other)) for axis in (0, 1)]
    return replace(
        window,
        size=(ends[0] - starts[0], ends[1] - starts[1]),
        offset=(starts[0], starts[1]),
    )
