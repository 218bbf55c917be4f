"""Crops: units computed from their receptive fields only, on the way up and on the way down.

A unit of a convolutional layer sees a rectangle of every feature map below it. All units of a layer
see rectangles of one size, whatever their image and position, so that they make one batch: pixels
are cropped around each unit, the network is run on them without its padding, and what comes out is
one position, the unit. The way down is then the ordinary one. Where a crop reaches beyond the
border of a feature map it holds what the next operation would see there, so that the result is
that of whole images, also at the borders.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from zf_lightning.deconv.locality import (
    POINTWISE,
    Locality,
    Pair,
    Support,
    plus_times,
    smallest_around,
)
from zf_lightning.deconv.receptive_field import crop
from zf_lightning.graph.network import Graph


@dataclass(frozen=True)
class MapCrop:
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
class CropPlan:
    """The crops of a layer's units at every node below it, from the input on."""

    #: The layer's own.
    node: fx.Node
    nodes: dict[fx.Node, MapCrop]
    #: Of every operation, in whole images.
    localities: Mapping[fx.Node, Locality]
    #: Values computed in a unit's crops, as a share of those of a whole image.
    share: float

    @property
    def map_size(self) -> Pair:
        """Height and width of the layer's feature maps."""
        return self.nodes[self.node].map_size


def plan_crops(
    graph: Graph,
    target: fx.Node,
    localities: Mapping[fx.Node, Locality],
    shapes: Mapping[fx.Node, tuple[int, ...]],
    input_size: Pair,
) -> CropPlan | None:
    """The crops of the units of a node, for images of one size.

    None where units are not computed in crops: an operation below them has no position or cannot be
    run on crops, or branches of different stride meet.

    Args:
        localities, shapes: of the operations below, as a pass of whole images found them.
    """
    if graph.asks_for_sizes(target) or len(shapes[target]) != 3:
        return None

    def map_size(node: fx.Node) -> Pair:
        return input_size if node is graph.input else (shapes[node][-2], shapes[node][-1])

    found = {target: MapCrop((1, 1), (1, 1), (0, 0), map_size(target))}
    inside, everything = 0, 0
    order = [node for node in graph.below([target]) if node in localities]
    for node in reversed(order):
        locality, crop_of_node, shape = localities[node], found[node], shapes[node]
        support = locality.support
        if not locality.in_crops or not isinstance(support, Support) or len(shape) != 3:
            return None
        inside += shape[0] * crop_of_node.size[0] * crop_of_node.size[1]
        everything += shape[0] * shape[1] * shape[2]
        below = _below(crop_of_node, support)
        for source in graph.sources(node):
            other = found.get(source)
            if other is not None and other.jump != below.jump:
                return None
            found[source] = replace(_union(below, other), map_size=map_size(source))
    return CropPlan(
        target,
        {node: found[node] for node in (graph.input, *order)},
        {node: localities[node] for node in order},
        inside / everything,
    )


class Positions:
    """Units of one layer in a batch of images, and which of their crops reach beyond a border.

    Args:
        images, rows, columns: `[U]` int64.
    """

    def __init__(self, images: Tensor, rows: Tensor, columns: Tensor) -> None:
        self.images, self.rows, self.columns = images, rows, columns
        # Read once: on a GPU each reading waits for all that is under way.
        ends = torch.stack([rows.amin(), rows.amax(), columns.amin(), columns.amax()]).tolist()
        self._ends = ((ends[0], ends[1]), (ends[2], ends[3]))
        self._known: dict[MapCrop, Tensor | None] = {}

    def beyond(self, part: MapCrop) -> Tensor | None:
        """`[U, 1, h, w]` bool, True beyond the border; None if no crop reaches there."""
        if part not in self._known:
            self._known[part] = self._beyond(part) if self._crosses(part) else None
        return self._known[part]

    def _crosses(self, part: MapCrop) -> bool:
        return any(
            part.offset[axis] + first * part.jump[axis] < 0
            or part.offset[axis] + last * part.jump[axis] + part.size[axis] > part.map_size[axis]
            for axis, (first, last) in enumerate(self._ends)
        )

    def _beyond(self, part: MapCrop) -> Tensor:
        found = []
        for starts, size, length in zip(
            part.starts(self.rows, self.columns), part.size, part.map_size, strict=True
        ):
            at = starts[:, None] + torch.arange(size, device=starts.device)
            found.append((at < 0) | (at >= length))
        return (found[0][:, :, None] | found[1][:, None, :])[:, None]


def crop_pixels(graph: Graph, plan: CropPlan, images: Tensor, units: Positions) -> Tensor:
    """What units see of images `[N, C, H, W]`: `[U, C, h, w]`, zero beyond the border."""
    part = plan.nodes[graph.input]
    pixels, _ = crop(images, units.images, *part.starts(units.rows, units.columns), part.size)
    # On a CPU max pooling is fifteen times as fast so, convolution twice.
    return pixels.contiguous(memory_format=torch.channels_last)


def crop_inputs(
    graph: Graph, plan: CropPlan, units: Positions, node: fx.Node, values: Mapping[fx.Node, Any]
) -> dict[fx.Node, Any]:
    """The values that an operation takes, cropped to what it sees, its border value beyond."""
    whole, locality = plan.nodes[node], plan.localities[node]
    assert isinstance(locality.support, Support)
    sees = _below(whole, locality.support)
    sources = graph.sources(node)
    # Beyond the border an operation on single positions hands on what is never looked at.
    # Padding at the right and the bottom is on single positions too, but moves the border.
    spatial = locality.support != POINTWISE or any(
        plan.nodes[source].map_size != whole.map_size for source in sources
    )
    taken = dict(values)
    for source in sources:
        given = plan.nodes[source]
        part = replace(sees, map_size=given.map_size)
        sides = _sides(part, given)
        cut = F.pad(values[source], [-side for side in sides]) if any(sides) else values[source]
        taken[source] = _filled(cut, units.beyond(part) if spatial else None, locality.border_value)
    return taken


def fill_output(plan: CropPlan, units: Positions, node: fx.Node, output: Tensor) -> Tensor:
    """The output of an operation, zero beyond the border instead of its border value."""
    if not plan.localities[node].border_value:
        return output
    # Times a signal of zero, infinities would be NaN.
    return _filled(output, units.beyond(plan.nodes[node]), 0.0)


def _filled(values: Tensor, where: Tensor | None, value: float) -> Tensor:
    # Not masked_fill, which would lose the memory format.
    return values if where is None else values.clone().masked_fill_(where, value)


def _sides(part: MapCrop, whole: MapCrop) -> tuple[int, int, int, int]:
    """Left, right, top, bottom: what a crop has around a part of it."""
    before = [part.offset[axis] - whole.offset[axis] for axis in (0, 1)]
    after = [whole.size[axis] - part.size[axis] - before[axis] for axis in (0, 1)]
    return before[1], after[1], before[0], after[0]


def _below(part: MapCrop, support: Support) -> MapCrop:
    """What the positions of a crop see of an operation's input."""

    steps = (part.size[0] - 1, part.size[1] - 1)
    return MapCrop(
        plus_times(support.extent, support.stride, steps),
        plus_times((0, 0), part.jump, support.stride),
        plus_times(support.offset, part.offset, support.stride),
        (0, 0),
    )


def _union(part: MapCrop, other: MapCrop | None) -> MapCrop:
    size, offset = smallest_around([part] if other is None else [part, other])
    return replace(part, size=size, offset=offset)
