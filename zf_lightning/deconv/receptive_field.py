"""Which pixels a unit sees: receptive fields from the graph, and the windows they cut out.

A window may lie beyond the image's border, where a convolution or a pool was padded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, fx

from zf_lightning.deconv.locality import Locality, Pair, Support, plus_times, smallest_around
from zf_lightning.errors import UserError
from zf_lightning.graph.network import Graph


class Window(NamedTuple):
    """A rectangle of pixels; `top` and `left` are negative where it begins beyond the border."""

    top: int
    left: int
    height: int
    width: int

    def clipped(self, input_size: Pair) -> "Window":
        """The part of it that lies in an image of `input_size`."""
        top, left = max(self.top, 0), max(self.left, 0)
        bottom = min(self.top + self.height, input_size[0])
        right = min(self.left + self.width, input_size[1])
        return Window(top, left, max(bottom - top, 0), max(right - left, 0))


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of a layer's units, in input pixels as `(vertical, horizontal)`.

    The unit at `(row, column)` sees `size` pixels from `offset + (row, column) * jump` on. A unit
    of a fully connected layer sees all that any position below it sees. Near a border a unit may
    see less than its window: what lies beyond the border of a feature map is zero.
    """

    size: Pair
    jump: Pair
    offset: Pair
    #: Height and width of the layer's feature maps; (1, 1) if it has none.
    map_size: Pair
    input_size: Pair

    def window(self, row: int = 0, column: int = 0) -> Window:
        """The unit's window, possibly beyond the borders."""
        return Window(
            self.offset[0] + row * self.jump[0], self.offset[1] + column * self.jump[1], *self.size
        )

    def clipped_window(self, row: int = 0, column: int = 0) -> Window:
        """The part of the unit's window that lies in the image."""
        return self.window(row, column).clipped(self.input_size)

    @property
    def exceeds_input(self) -> bool:
        """Whether the receptive field is larger than the image, so that its tile is clipped."""
        return self.size[0] > self.input_size[0] or self.size[1] > self.input_size[1]

    @property
    def tile_size(self) -> Pair:
        """Height and width of a unit's tile: the receptive field, or the image if that is less."""
        return min(self.size[0], self.input_size[0]), min(self.size[1], self.input_size[1])

    def tiles(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """First row and first column `[U]` of the tiles of units at `rows` and `columns` `[U]`.

        A tile is the unit's window, all of one size: what lies beyond the border belongs to it.
        Along an axis on which the receptive field exceeds the image, it is the whole image.
        """
        starts = []
        for axis, at in ((0, rows), (1, columns)):
            start = self.offset[axis] + at * self.jump[axis]
            starts.append(
                torch.zeros_like(start) if self.size[axis] > self.input_size[axis] else start
            )
        return starts[0], starts[1]


def receptive_field(
    graph: Graph,
    target: fx.Node,
    localities: Mapping[fx.Node, Locality],
    shapes: Mapping[fx.Node, tuple[int, ...]],
    input_size: Pair,
) -> ReceptiveField | UserError:
    """The receptive field of a node's units, for images of one size.

    Where an operation's output has no rectangle in its input, the error that says so.

    Args:
        localities, shapes: of the operations below, as a pass of whole images found them.
    """
    fields = {graph.input: ReceptiveField((1, 1), (1, 1), (0, 0), input_size, input_size)}
    for node in graph.below([target]):
        if node not in localities:
            continue
        sources = [fields[source] for source in graph.sources(node)]
        support = localities[node].support
        if not isinstance(support, Support):
            if support == "unknown":
                return UserError(f"Receptive fields do not pass through node {node.name}.")
            below = [_whole(source) for source in sources]
        else:
            below = [_through(source, support) for source in sources]
        if any(field.jump != below[0].jump for field in below):
            return UserError(f"Branches of different stride meet at node {node.name}.")
        shape = shapes[node]
        map_size = (shape[-2], shape[-1]) if len(shape) > 1 else (1, 1)
        fields[node] = _union(below, map_size)
    return fields[target]


def crop(
    images: Tensor, which: Tensor, tops: Tensor, lefts: Tensor, size: Pair
) -> tuple[Tensor, Tensor]:
    """Cut windows of one size out of images; beyond the border they hold zeros.

    Args:
        images: `[N, C, H, W]`.
        which: `[U]` int64, the image of each window.
        tops, lefts: `[U]` int64, first row and column of each window, may be negative.
        size: height and width of the windows.

    Returns:
        The windows `[U, C, h, w]`, and where they lie inside the image, `[U, h, w]` bool.
    """
    inside = inside_image(tops, lefts, size, (images.shape[2], images.shape[3]))
    rows = tops[:, None] + torch.arange(size[0], device=images.device)
    columns = lefts[:, None] + torch.arange(size[1], device=images.device)
    found = images[
        which[:, None, None],
        :,
        rows.clamp(0, images.shape[2] - 1)[:, :, None],
        columns.clamp(0, images.shape[3] - 1)[:, None, :],
    ]
    return found.permute(0, 3, 1, 2).where(inside[:, None], 0), inside


def inside_image(tops: Tensor, lefts: Tensor, size: Pair, image_size: Pair) -> Tensor:
    """Where windows `[U]` of one size lie inside an image: `[U, h, w]` bool."""
    rows = tops[:, None] + torch.arange(size[0], device=tops.device)
    columns = lefts[:, None] + torch.arange(size[1], device=lefts.device)
    row_inside = (rows >= 0) & (rows < image_size[0])
    column_inside = (columns >= 0) & (columns < image_size[1])
    return row_inside[:, :, None] & column_inside[:, None, :]


def paste(windows: Tensor, images: Tensor, which: Tensor, tops: Tensor, lefts: Tensor) -> None:
    """Put windows `[U, C, h, w]` into images `[N, C, H, W]`; what lies beyond the border is lost.

    Args:
        which: `[U]` int64, the image of each window.
        tops, lefts: `[U]` int64, first row and column of each window, may be negative.
    """
    height, width = windows.shape[2:]
    for window, image, top, left in zip(
        windows, which.tolist(), tops.tolist(), lefts.tolist(), strict=True
    ):
        first = max(top, 0), max(left, 0)
        last = min(top + height, images.shape[2]), min(left + width, images.shape[3])
        # A window may lie wholly beyond the border, where a map was padded by more than it sees.
        if first[0] < last[0] and first[1] < last[1]:
            images[image, :, first[0] : last[0], first[1] : last[1]] = window[
                :, first[0] - top : last[0] - top, first[1] - left : last[1] - left
            ]


def _through(source: ReceptiveField, support: Support) -> ReceptiveField:
    return ReceptiveField(
        plus_times(source.size, source.jump, (support.extent[0] - 1, support.extent[1] - 1)),
        plus_times((0, 0), source.jump, support.stride),
        plus_times(source.offset, source.jump, support.offset),
        source.map_size,
        source.input_size,
    )


def _whole(source: ReceptiveField) -> ReceptiveField:
    return _through(source, Support(extent=source.map_size, stride=(0, 0)))


def _union(fields: list[ReceptiveField], map_size: Pair) -> ReceptiveField:
    """The smallest rectangle that holds those of all branches that meet at a node."""
    size, offset = smallest_around(fields)
    return ReceptiveField(size, fields[0].jump, offset, map_size, fields[0].input_size)
