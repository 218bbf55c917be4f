"""Recompute feature maps only where the image changed.

A square that hides part of an image changes one window of every feature map above it and leaves
the rest unchanged. The whole image goes through the network once; for each position of the square
only the windows are recomputed, surrounded by the values of that first pass. The windows of all
positions have the same size and form a batch. They grow from layer to layer; once they cover most
of the map, or an operation has no windows (a fully connected layer), whole maps are computed. The
result equals that of whole passes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from zf_lightning.analysis.observed import ObservedNetwork, check_scores
from zf_lightning.deconv.backward import Method
from zf_lightning.deconv.locality import POINTWISE, Locality, Pair, Support
from zf_lightning.deconv.operations import Operations
from zf_lightning.deconv.receptive_field import cut_out, inside_image
from zf_lightning.deconv.running import run_operation
from zf_lightning.errors import UserError
from zf_lightning.graph.network import Graph
from zf_lightning.models.evaluation import evaluation_mode

#: Share of a map above which whole maps are computed: cutting out windows costs time, too.
LARGEST_WINDOW = 0.8


@dataclass(frozen=True)
class Changed:
    """Feature maps of N images that each differ from a common image in one window."""

    #: `[1, C, H, W]`: the maps of the unchanged image.
    common: Tensor
    #: `[N, C, h, w]`.
    windows: Tensor
    #: `[N]` int64 on the CPU: first row and first column of each window, which lies in the map.
    tops: Tensor
    lefts: Tensor

    @property
    def size(self) -> Pair:
        """Height and width of the windows."""
        return int(self.windows.shape[2]), int(self.windows.shape[3])

    @property
    def map_size(self) -> Pair:
        """Height and width of the maps."""
        return int(self.common.shape[2]), int(self.common.shape[3])

    def whole(self) -> Tensor:
        """The complete maps `[N, C, H, W]`."""
        zeros = torch.zeros_like(self.tops)
        return self.patches(zeros, zeros, self.map_size, 0.0)

    def patches(self, tops: Tensor, lefts: Tensor, size: Pair, border_value: float) -> Tensor:
        """Crops `[N, C, *size]` of the maps that begin at `tops` and `lefts` `[N]`.

        Positions beyond the border hold `border_value`.
        """
        number, device = len(self.windows), self.common.device
        starts = tops.to(device), lefts.to(device)
        which = torch.zeros(number, dtype=torch.int64, device=device)
        found = cut_out(self.common, which, *starts, size)
        if border_value and _crosses(tops, lefts, size, self.map_size):
            inside = inside_image(*starts, size, self.map_size)
            found = found.masked_fill(~inside[:, None], border_value)
        rows = (self.tops - tops)[:, None] + torch.arange(self.size[0])
        columns = (self.lefts - lefts)[:, None] + torch.arange(self.size[1])
        # `crop` returns channels-last memory, in which a position is copied as a whole.
        target, source = found.permute(0, 2, 3, 1), self.windows.permute(0, 2, 3, 1)
        each = torch.arange(number, device=device)
        kept = ((rows >= 0) & (rows < size[0]))[:, :, None]
        kept = kept & ((columns >= 0) & (columns < size[1]))[:, None, :]
        if kept.all():
            places = (each[:, None, None], rows[:, :, None].to(device), columns[:, None].to(device))
            target[places] = source
        else:
            image, row, column = kept.nonzero(as_tuple=True)
            at = rows[image, row].to(device), columns[image, column].to(device)
            image, row, column = (values.to(device) for values in (image, row, column))
            target[(image, *at)] = source[image, row, column]
        return found

    def totals(self, feature_map: int) -> Tensor:
        """Total activation of one feature map: float64 `[N]`."""
        device = self.common.device
        which = torch.zeros(len(self.windows), dtype=torch.int64, device=device)
        common = self.common[:, feature_map : feature_map + 1].double()
        before = cut_out(common, which, self.tops.to(device), self.lefts.to(device), self.size)
        after = self.windows[:, feature_map].double()
        return common.sum() - before.sum((1, 2, 3)) + after.sum((1, 2))


class ChangedPass:
    """Runs a network on versions of one image that differ from it in one window each.

    Args:
        observed: the network.
        image: the unchanged image, float `[1, 3, H, W]` as the network takes it.
        layers: passed to `observe`, as `Changed` or as whole maps.
    """

    def __init__(self, observed: ObservedNetwork, image: Tensor, layers: tuple[str, ...]) -> None:
        self._observed = observed
        self._shown = {observed.graph.node(layer): layer for layer in layers}
        recorder = _Recorder(observed)
        with torch.no_grad(), evaluation_mode(observed.network):
            recorder.run(image.contiguous(memory_format=torch.channels_last))
        self._common = recorder.common
        self._localities = recorder.localities

    def run(
        self,
        windows: Tensor,
        tops: Tensor,
        lefts: Tensor,
        observe: Callable[[str, Changed | Tensor], None],
    ) -> Tensor:
        """Scores `[N, classes]` of the image with each window pasted into it.

        Args:
            windows: `[N, 3, h, w]`.
            tops, lefts: `[N]` int64, the first row and column of each window, inside the image.
        """
        image = self._common[self._observed.graph.input]
        changed = Changed(image, windows, tops.cpu(), lefts.cpu())
        interpreter = _ChangedInterpreter(
            self._observed, self._common, self._localities, self._shown, observe
        )
        with torch.no_grad(), evaluation_mode(self._observed.network):
            return check_scores(interpreter.run(changed), len(windows))


#: Used for their forward pass only.
OPERATIONS = Operations(Method())


def _run(
    graph: Graph, node: fx.Node, values: Mapping[fx.Node, Any], crop: Locality | None = None
) -> tuple[Any, Locality]:
    """Run an operation as its rule does; raises UserError if it has no rule."""
    given = dict(values)
    # Rules treat values that need no gradient as held, and as different at every position.
    with torch.inference_mode(False), torch.enable_grad():
        for source in graph.sources(node):
            value = values[source]
            value = value.clone() if value.is_inference() else value.detach()
            given[source] = value.requires_grad_()
        output, locality = run_operation(graph, OPERATIONS, node, given, crop=crop)
    return output.detach() if isinstance(output, Tensor) else output, locality


class _Recorder(fx.Interpreter):
    """Keeps the maps of the unchanged image, and which operations can run on windows."""

    def __init__(self, observed: ObservedNetwork) -> None:
        super().__init__(observed.network, graph=observed.graph.graph)
        self._graph = observed.graph
        self.common: dict[fx.Node, Tensor] = {}
        self.localities: dict[fx.Node, Locality] = {}

    def run_node(self, n: fx.Node) -> Any:
        sources = self._graph.sources(n)
        if sources and n.op != "output" and all(source in self.common for source in sources):
            try:
                value, locality = _run(self._graph, n, self.env)
            except UserError:
                # Without a rule an operation runs on whole maps.
                return super().run_node(n)
            maps = isinstance(value, Tensor) and value.dim() == 4
            if maps and locality.in_crops and isinstance(locality.support, Support):
                self.common[n], self.localities[n] = value, locality
            return value
        value = super().run_node(n)
        if n is self._graph.input:
            self.common[n] = value
        return value


class _ChangedInterpreter(fx.Interpreter):
    """Runs operations on windows while that is less work, then on whole maps."""

    def __init__(
        self,
        observed: ObservedNetwork,
        common: Mapping[fx.Node, Tensor],
        localities: Mapping[fx.Node, Locality],
        shown: Mapping[fx.Node, str],
        observe: Callable[[str, Changed | Tensor], None],
    ) -> None:
        super().__init__(observed.network, graph=observed.graph.graph)
        self._graph = observed.graph
        self._common = common
        self._localities = localities
        self._shown = shown
        self._observe = observe

    def run_node(self, n: fx.Node) -> Any:
        value = self._locally(n)
        if value is None:
            for source in n.all_input_nodes:
                found = self.env[source]
                if isinstance(found, Changed):
                    self.env[source] = found.whole()
            value = super().run_node(n)
        if n in self._shown:
            self._observe(self._shown[n], value)
        return value

    def _locally(self, node: fx.Node) -> Changed | None:
        """The result on windows, or None if the operation must run on whole maps."""
        if node not in self._localities:
            return None
        sources = self._graph.sources(node)
        found = [self.env[source] for source in sources]
        if not all(isinstance(value, Changed) for value in found):
            return None
        locality = self._localities[node]
        support = locality.support
        assert isinstance(support, Support)
        common = self._common[node]
        map_size = int(common.shape[2]), int(common.shape[3])
        starts, sizes = zip(
            *(_seen_by(found, axis, support, map_size[axis]) for axis in (0, 1)), strict=True
        )
        if sizes[0] * sizes[1] > LARGEST_WINDOW * map_size[0] * map_size[1]:
            return None
        below = [starts[axis] * support.stride[axis] + support.offset[axis] for axis in (0, 1)]
        extent = [
            (sizes[axis] - 1) * support.stride[axis] + support.extent[axis] for axis in (0, 1)
        ]
        values = dict(self.env)
        for source, changed in zip(sources, found, strict=True):
            unmoved = support == POINTWISE and changed.map_size == map_size
            if unmoved and changed.size == sizes:
                values[source] = changed.windows
            else:
                values[source] = changed.patches(
                    below[0], below[1], (extent[0], extent[1]), locality.border_value
                )
        windows, _ = _run(self._graph, node, values, crop=locality)
        return Changed(common, windows, starts[0], starts[1])


def _seen_by(
    changes: list[Changed], axis: int, support: Support, length: int
) -> tuple[Tensor, int]:
    """First output positions `[N]` that see the windows, and how many positions do.

    The number is the largest of all N, and the positions are shifted to lie within 0..`length`.
    """
    first = torch.stack([(changed.tops, changed.lefts)[axis] for changed in changes])
    sizes = torch.tensor([changed.size[axis] for changed in changes])[:, None]
    low, high = first.amin(0), (first + sizes).amax(0)
    extent, stride, offset = support.extent[axis], support.stride[axis], support.offset[axis]
    number = min((int((high - low).max()) + extent - 2) // stride + 1, length)
    begin = -((extent - 1 + offset - low) // stride)
    return begin.clamp(0, length - number), number


def _crosses(tops: Tensor, lefts: Tensor, size: Pair, map_size: Pair) -> bool:
    """Whether any window reaches beyond the border."""
    return any(
        int(starts.min()) < 0 or int(starts.max()) + size[axis] > map_size[axis]
        for axis, starts in enumerate((tops, lefts))
    )
