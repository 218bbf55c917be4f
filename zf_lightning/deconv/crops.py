"""Crops: units computed from their receptive fields only, on the way up and on the way down.

A unit of a convolutional layer sees a rectangle of every feature map below it. All units of a layer
see rectangles of one size, whatever their image and position, so that they make one batch: pixels
are cropped around each unit, the network is run on them without its padding, and what comes out is
one position, the unit. The way down is then the ordinary one. Where a crop reaches beyond the
border of a feature map it holds what the next operation would see there, so that the result is
that of whole images, also at the borders.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from zf_lightning.deconv.backward import with_backward
from zf_lightning.deconv.locality import POINTWISE, STANDARD, Locality, Pair, Support
from zf_lightning.deconv.receptive_field import ReceptiveField, cut_out
from zf_lightning.graph.network import Graph
from zf_lightning.graph.operations import name_of

#: Operations whose output's shape is written out.
VIEWS = frozenset({"view", "reshape"})
#: What picks positions out of `[U, h, w]`: a mask, or a list of them.
Beyond = Tensor | tuple[Tensor, ...]


class Cut(NamedTuple):
    """What an operation takes of a crop of one of its inputs."""

    source: fx.Node
    #: What the units see of the input by way of this operation, and no other.
    part: ReceptiveField
    #: Left, right, top, bottom: what the crop has around that part.
    sides: tuple[int, int, int, int]
    #: Whether the operation sees what lies beyond the border.
    sees_border: bool


@dataclass(frozen=True)
class CropPlan:
    """The crops of a layer's units at every node below it, from the input on."""

    #: The layer's own.
    node: fx.Node
    nodes: dict[fx.Node, ReceptiveField]
    #: Of every operation, in whole images.
    localities: Mapping[fx.Node, Locality]
    cuts: Mapping[fx.Node, list[Cut]]
    #: Max pooling that takes all of a crop, which nothing else takes, and what it takes.
    pooled: Mapping[fx.Node, fx.Node]
    #: Gates of whole maps, which are those of the whole image.
    constants: frozenset[fx.Node]
    #: Of every operation's output.
    channels: Mapping[fx.Node, int]
    #: How many values are computed of a whole image.
    values: int
    #: How many the largest of a unit's crops has.
    largest: int
    #: Values computed in a unit's crops, as a share of those of a whole image.
    share: float


def plan_crops(
    graph: Graph,
    target: fx.Node,
    fields: Mapping[fx.Node, ReceptiveField],
    localities: Mapping[fx.Node, Locality],
    shapes: Mapping[fx.Node, tuple[int, ...]],
    constants: frozenset[fx.Node],
) -> CropPlan | None:
    """The crops of the units of a node, for images of one size.

    None where units are not computed in crops: an operation below them has no position or cannot be
    run on crops.

    Args:
        fields: what the units see, from `fields_below`.
        localities, shapes, constants: see there.
    """
    order = [node for node in graph.below([target]) if node in fields and node in localities]
    if not all(localities[node].in_crops and len(shapes[node]) == 3 for node in order):
        return None
    cuts = {node: _cuts(graph, node, fields, localities[node]) for node in order}
    for node, asked in graph.askers_for_sizes(target).items():
        # A view of the same positions may ask for the sizes that its input's crops have.
        same = node in fields and asked <= fields.keys()
        same = same and all(fields[one].size == fields[node].size for one in asked)
        if not same or name_of(node.target) not in VIEWS or any(any(c.sides) for c in cuts[node]):
            return None
    if any(name_of(n.target) in VIEWS and _names_sizes(n, localities[n].axes) for n in order):
        return None
    channels = {node: shapes[node][0] for node in order}
    inside = [channels[node] * prod(fields[node].size) for node in order]
    whole = sum(prod(shapes[node]) for node in order)
    return CropPlan(
        target,
        {node: fields[node] for node in (graph.input, *order)},
        {node: localities[node] for node in order},
        cuts,
        _pooled(cuts, localities),
        frozenset(source for node in order for source in graph.sources(node)) & constants,
        channels,
        whole,
        max(inside),
        sum(inside) / whole,
    )


def _names_sizes(node: fx.Node, axes: Pair) -> bool:
    """Whether a view has the numbers of rows and columns of whole images written into it."""
    sizes = node.args[1] if isinstance(node.args[1], tuple | list) else node.args[1:]
    return any(isinstance(sizes[axis], int) and sizes[axis] != -1 for axis in axes)


def _cuts(
    graph: Graph, node: fx.Node, fields: Mapping[fx.Node, ReceptiveField], locality: Locality
) -> list[Cut]:
    assert isinstance(locality.support, Support)
    sources = [source for source in graph.sources(node) if source in fields]
    # Beyond the border an operation on single positions hands on what is never looked at.
    # Padding at the right and the bottom is on single positions too, but moves the border.
    sees_border = locality.support != POINTWISE or any(
        fields[source].input_size != fields[node].input_size for source in sources
    )
    found = []
    for source in sources:
        whole = fields[source]
        part = fields[node].below(locality.support, whole.input_size)
        (top, bottom), (left, right) = (
            (before, whole.size[axis] - part.size[axis] - before)
            for axis in (0, 1)
            for before in [part.offset[axis] - whole.offset[axis]]
        )
        found.append(Cut(source, part, (left, right, top, bottom), sees_border))
    return found


def blank(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Stands for values at which nobody looks, without taking any room."""
    return like.new_zeros(()).expand(*shape)


def is_blank(values: Tensor) -> bool:
    """Whether these are values of `blank`."""
    return not any(values.stride())


def _pooled(
    cuts: Mapping[fx.Node, list[Cut]], localities: Mapping[fx.Node, Locality]
) -> dict[fx.Node, fx.Node]:
    takers: dict[fx.Node, list[tuple[fx.Node, Cut]]] = {}
    for node, found in cuts.items():
        for cut in found:
            takers.setdefault(cut.source, []).append((node, cut))
    return {
        node: source
        for source, ((node, cut), *others) in takers.items()
        if not others and localities[node].border_value == -inf and not any(cut.sides)
    }


class Positions:
    """Units of one layer in a batch of images, and which of their crops reach beyond a border.

    Args:
        images, rows, columns: `[U]` int64.
    """

    def __init__(self, images: Tensor, rows: Tensor, columns: Tensor) -> None:
        self.images, self.rows, self.columns = images, rows, columns
        # Read once: on a GPU each reading waits for all that is under way.
        self._ends = torch.stack([*torch.stack([rows, columns]).aminmax(dim=1)], 1).tolist()
        self._known: dict[ReceptiveField, Beyond | None] = {}

    def beyond(self, part: ReceptiveField) -> Beyond | None:
        """Where crops `[U, h, w]` lie beyond the border, as an index; None if none does."""
        if part not in self._known:
            self._known[part] = self._beyond(part) if self._crosses(part) else None
        return self._known[part]

    def _crosses(self, part: ReceptiveField) -> bool:
        return any(
            part.offset[axis] + first * part.jump[axis] < 0
            or part.offset[axis] + last * part.jump[axis] + part.size[axis] > part.input_size[axis]
            for axis, (first, last) in enumerate(self._ends)
        )

    def _beyond(self, part: ReceptiveField) -> Beyond:
        found = []
        for starts, size, length in zip(
            part.starts(self.rows, self.columns), part.size, part.input_size, strict=True
        ):
            at = starts[:, None] + torch.arange(size, device=starts.device)
            found.append((at < 0) | (at >= length))
        mask = found[0][:, :, None] | found[1][:, None, :]
        # Few positions are beyond: on a CPU a list of them takes a third of the time of a mask. On
        # a GPU it would have to wait for their number.
        return mask.nonzero(as_tuple=True) if mask.device.type == "cpu" else mask


def crop_pixels(graph: Graph, plan: CropPlan, images: Tensor, units: Positions) -> Tensor:
    """What units see of images `[N, C, H, W]`: `[U, C, h, w]`, zero beyond the border."""
    field = plan.nodes[graph.input]
    pixels = cut_out(images, units.images, *field.starts(units.rows, units.columns), field.size)
    # On a CPU max pooling is fifteen times as fast so, convolution twice.
    return pixels.contiguous(memory_format=torch.channels_last)


def crop_inputs(
    plan: CropPlan, units: Positions, node: fx.Node, values: Mapping[fx.Node, Any]
) -> dict[fx.Node, Any]:
    """The values that an operation takes, cropped to what it sees, its border value beyond."""
    taken = dict(values)
    for source, part, sides, sees_border in plan.cuts[node]:
        beyond = units.beyond(part) if sees_border else None
        axes = plan.localities[source].axes if source in plan.localities else STANDARD
        border_value = plan.localities[node].border_value
        taken[source] = _cut(values[source], sides, beyond, border_value, axes)
    return taken


def fill_output(plan: CropPlan, units: Positions, node: fx.Node, output: Tensor) -> Tensor:
    """The output of an operation, zero beyond the border instead of its border value."""
    if not plan.localities[node].border_value:
        return output
    # Times a signal of zero, infinities would be NaN.
    return _cut(output, (0, 0, 0, 0), units.beyond(plan.nodes[node]), 0.0)


def _cut(
    values: Any,
    sides: tuple[int, int, int, int],
    beyond: Beyond | None,
    border_value: float,
    axes: Pair = STANDARD,
) -> Any:
    """Without its sides, and with `border_value` beyond the border, where no signal goes back.

    Autograd's own way back takes five times as long, to copy and to fill by a mask.
    """
    if beyond is None and not any(sides):
        return values
    if isinstance(values, tuple | list):
        return type(values)(_cut(one, sides, beyond, border_value, axes) for one in values)
    if axes != STANDARD:
        last = values.movedim(axes, (-2, -1))
        cut = _cut(last.flatten(1, -3), sides, beyond, border_value)
        return cut.unflatten(1, last.shape[1:-2]).movedim((-2, -1), axes)

    def fill(part: Tensor, value: float) -> None:
        if beyond is not None:
            part.permute(0, 2, 3, 1)[beyond] = value

    left, right, top, bottom = sides

    def backward(signal: Tensor) -> Tensor:
        if border_value == -inf:
            # No maximum lies there, so that nothing comes back to it.
            return F.pad(signal, sides) if any(sides) else signal
        whole = F.pad(signal, sides) if any(sides) else signal.clone()
        fill(whole[:, :, top : whole.shape[2] - bottom, left : whole.shape[3] - right], 0.0)
        return whole

    with torch.no_grad():
        if is_blank(values):
            height, width = values.shape[2] - top - bottom, values.shape[3] - left - right
            cut = blank(values, (*values.shape[:2], height, width))
        else:
            cut = F.pad(values, [-side for side in sides]) if any(sides) else values.clone()
            fill(cut, border_value)
    found = with_backward(values, cut, backward)
    # What is remembered of values: that they are held, or come from a rectifier.
    found.__dict__.update(values.__dict__)
    return found
