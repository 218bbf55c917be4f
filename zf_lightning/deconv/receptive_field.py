"""Receptive fields, found from the graph, and the windows of pixels that they cut out.

A window may lie beyond the image's border, where a convolution or a pool was padded.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, fx

from zf_lightning.deconv.locality import EVERYWHERE, Locality, Pair, Support
from zf_lightning.errors import UserError
from zf_lightning.graph.network import Graph

#: Values from which on a window is copied by itself: of small ones the loop would take longer.
LARGE = 4096


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

    def union(self, other: "Window") -> "Window":
        """The smallest that holds both."""
        top, left = min(self.top, other.top), min(self.left, other.left)
        bottom = max(self.top + self.height, other.top + other.height)
        right = max(self.left + self.width, other.left + other.width)
        return Window(top, left, bottom - top, right - left)


@dataclass(frozen=True)
class ReceptiveField:
    """What units of a layer see of an image, or of the maps below them, `(vertical, horizontal)`.

    The unit at `(row, column)` sees `size` pixels from `offset + (row, column) * jump` on. A unit
    of a fully connected layer sees all that any position below it sees. Near a border a unit may
    see less than its window: what lies beyond the border of a feature map is zero.
    """

    size: Pair
    jump: Pair
    offset: Pair
    #: Height and width of the layer's feature maps; (1, 1) if it has none.
    map_size: Pair
    #: Height and width of what is seen.
    input_size: Pair

    def starts(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """First row and first column `[U]` of the windows of units, possibly negative."""
        return self.offset[0] + rows * self.jump[0], self.offset[1] + columns * self.jump[1]

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
        return self.tile_size != self.size

    @property
    def tile_size(self) -> Pair:
        """Height and width of a unit's tile: the receptive field, or the image if that is less."""
        return min(self.size[0], self.input_size[0]), min(self.size[1], self.input_size[1])

    def tiles(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """First row and first column `[U]` of the tiles of units at `rows` and `columns` `[U]`.

        A tile is the unit's window, all of one size: what lies beyond the border belongs to it.
        Along an axis on which the receptive field exceeds the image, it is the whole image.
        """
        tops, lefts = self.starts(rows, columns)
        fits = [self.size[axis] <= self.input_size[axis] for axis in (0, 1)]
        return tops * fits[0], lefts * fits[1]

    def below(self, support: Support, input_size: Pair) -> "ReceptiveField":
        """What the units see of the input of an operation, given what they see of its output."""
        return ReceptiveField(
            _on_each_axis(support.extent, support.stride, (self.size[0] - 1, self.size[1] - 1)),
            _on_each_axis((0, 0), support.stride, self.jump),
            _on_each_axis(support.offset, support.stride, self.offset),
            self.map_size,
            input_size,
        )

    def union(self, other: "ReceptiveField") -> "ReceptiveField":
        """The smallest that holds both, of the same units and the same maps."""
        starts = [min(self.offset[axis], other.offset[axis]) for axis in (0, 1)]
        ends = [max(one.offset[axis] + one.size[axis] for one in (self, other)) for axis in (0, 1)]
        size = (ends[0] - starts[0], ends[1] - starts[1])
        return replace(self, size=size, offset=(starts[0], starts[1]))


def _on_each_axis(first: Pair, factor: Pair, number: Pair) -> Pair:
    return first[0] + factor[0] * number[0], first[1] + factor[1] * number[1]


def fields_below(
    graph: Graph,
    target: fx.Node,
    localities: Mapping[fx.Node, Locality],
    shapes: Mapping[fx.Node, tuple[int, ...]],
    *,
    constants: Collection[fx.Node] = (),
) -> dict[fx.Node, ReceptiveField]:
    """What a node's units see of every node below it, from the target to the graph's input.

    Args:
        localities, shapes: of the operations below and of the input, as a pass of whole images
            found them.
        constants: nodes that are left out, with what they alone are computed from.

    Raises UserError where that is not a rectangle, the same for all units.
    """

    def map_size(node: fx.Node) -> Pair:
        shape = shapes[node]
        return (shape[-2], shape[-1]) if len(shape) > 1 else (1, 1)

    size = map_size(target)
    found = {target: ReceptiveField((1, 1), (1, 1), (0, 0), size, size)}
    for node in reversed(graph.below([target])):
        if node not in localities or node not in found:
            continue
        support = localities[node].support
        if localities[node].gated and not constants:
            support = EVERYWHERE
        for source in graph.sources(node):
            if source in constants:
                continue
            seen = map_size(source)
            # Every position sees the whole map, wherever it is.
            through = Support(seen, (0, 0)) if support == EVERYWHERE else support
            field = found[node].below(through, seen)
            other = found.get(source, field)
            if other.jump != field.jump:
                raise UserError(
                    f"Branches of different stride lead from node {source.name} to {target.name}."
                )
            found[source] = field.union(other)
    return found


def crop(
    images: Tensor, which: Tensor, tops: Tensor, lefts: Tensor, size: Pair
) -> tuple[Tensor, Tensor]:
    """`cut_out`, and where the windows lie inside the image, `[U, h, w]` bool."""
    inside = inside_image(tops, lefts, size, (images.shape[2], images.shape[3]))
    return cut_out(images, which, tops, lefts, size), inside


def cut_out(images: Tensor, which: Tensor, tops: Tensor, lefts: Tensor, size: Pair) -> Tensor:
    """Cut windows of one size out of images: `[U, C, h, w]`, zero beyond the border.

    Args:
        images: `[N, C, H, W]`.
        which: `[U]` int64, the image of each window.
        tops, lefts: `[U]` int64, first row and column of each window, may be negative.
        size: height and width of the windows.
    """
    if images.device.type == "cpu" and images.shape[1] * size[0] * size[1] > LARGE:
        # In a third of the time that indices take. On a GPU it would wait for the numbers.
        windows = images.new_empty(len(which), *size, images.shape[1]).permute(0, 3, 1, 2)
        for window, (high, wide), same in _overlaps(windows, images, which, tops, lefts):
            if same.shape != window.shape:
                window.zero_()
            window[:, high, wide] = same
        return windows
    rows = tops[:, None] + torch.arange(size[0], device=images.device)
    columns = lefts[:, None] + torch.arange(size[1], device=images.device)
    found = images[
        which[:, None, None],
        :,
        rows.clamp(0, images.shape[2] - 1)[:, :, None],
        columns.clamp(0, images.shape[3] - 1)[:, None, :],
    ]
    inside = inside_image(tops, lefts, size, (images.shape[2], images.shape[3]))
    return found.permute(0, 3, 1, 2).masked_fill(~inside[:, None], 0)


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
    for window, inner, same in _overlaps(windows, images, which, tops, lefts):
        same.copy_(window[:, *inner])


def _overlaps(
    windows: Tensor, images: Tensor, which: Tensor, tops: Tensor, lefts: Tensor
) -> Iterator[tuple[Tensor, tuple[slice, slice], Tensor]]:
    """Each window, which of its rows and columns lie inside its image, and that part of the image.

    It is empty where the window lies wholly beyond the border, in padding.
    """
    size, image_size = (windows.shape[2], windows.shape[3]), (images.shape[2], images.shape[3])
    for window, image, row, column in zip(
        windows, which.tolist(), tops.tolist(), lefts.tolist(), strict=True
    ):
        top, left, height, width = Window(row, column, *size).clipped(image_size)
        rows = _inner(top - row, height, size[0])
        columns = _inner(left - column, width, size[1])
        yield window, (rows, columns), images[image, :, top : top + height, left : left + width]


def _inner(start: int, length: int, size: int) -> slice:
    start = min(max(start, 0), size - length)
    return slice(start, start + length)
