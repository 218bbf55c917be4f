"""One forward pass of whole images, shared by the crops of all the units in them.

On the way down a crop needs little of the way up: the switches of max pooling and, for the
gradient, where a ReLU was positive. Nobody looks at what else a convolution, a ReLU or a batch
normalisation gave. So an image goes up once: crops of what is needed are cut out of its feature
maps and switches, and elsewhere a blank stands for them, of which only the shape counts.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import inf

import torch
from torch import Tensor, fx

from zf_lightning.deconv.crops import CropPlan, Positions, blank
from zf_lightning.deconv.held import hold
from zf_lightning.deconv.locality import STANDARD
from zf_lightning.deconv.operations import Operations
from zf_lightning.deconv.receptive_field import ReceptiveField, cut_out
from zf_lightning.deconv.rectifiers import SMOOTH_RECTIFIERS
from zf_lightning.deconv.running import run_operation
from zf_lightning.deconv.units import Units
from zf_lightning.graph.capture import run
from zf_lightning.graph.network import Graph

#: What cuts off at 0: for the gradient its own output has to be looked at.
RECTIFIERS = frozenset({"relu", "relu6", "hardtanh"})
#: Operations whose rule looks at no input if its output is known.
BLIND = RECTIFIERS | {"conv2d", "batch_norm", "local_response_norm"}
#: Operations whose rule looks at no input if their switches are known.
MAX_POOLING = frozenset({"max_pool2d", "adaptive_max_pool2d"})


@dataclass(frozen=True)
class CropUnits:
    """Units of one layer that are projected in crops."""

    group: int
    units: Units
    #: `[U]`: their places among the units of the group.
    places: Tensor
    plan: CropPlan

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, which: Tensor | slice) -> "CropUnits":
        return replace(self, units=self.units[which], places=self.places[which])


class SharedPass:
    """The forward pass of some images, for the crops of units of some layers.

    Args:
        images: `[N, C, H, W]`.
        these: `[M]` int64, ascending: those that are run.
        plans: of the layers.
    """

    def __init__(
        self,
        graph: Graph,
        operations: Operations,
        images: Tensor,
        these: Tensor,
        plans: Collection[CropPlan],
    ) -> None:
        self._images, self._these = images, these
        images = images[these]
        #: Of each layer the nodes whose output is known in crops, and those among them whose values
        #: are looked at: the others are blanks.
        self._known: dict[fx.Node, set[fx.Node]] = {}
        self._looked_at: dict[fx.Node, set[fx.Node]] = {}
        #: Max pooling whose switches are known, by what it takes.
        pools: dict[fx.Node, fx.Node] = {}
        for plan in plans:
            blind = _blind_nodes(graph, operations, plan)
            self._known[plan.node] = blind | {graph.input}
            self._looked_at[plan.node] = _needed_nodes(graph, operations, plan, blind)
            pools |= {plan.pooled[node]: node for node in blind & plan.pooled.keys()}
        needed = {*chain.from_iterable([*self._looked_at.values(), *(p.constants for p in plans)])}
        self._maps = {graph.input: images} if graph.input in needed else {}
        #: `[M, C, H, W]`: the places of maxima in their flattened maps, and the rows of these.
        self._switches: dict[fx.Node, tuple[Tensor, Tensor]] = {}
        #: The same places if the maps had another width, that of a crop.
        self._places: dict[tuple[fx.Node, int], Tensor] = {}

        def keep(node: fx.Node, value: Tensor) -> None:
            if node in needed:
                self._maps[node] = value.clone() if node in graph.overwritten else value
            if node in pools:
                # Its rule is that of a value that carries a signal.
                with torch.enable_grad():
                    carries = value.detach().requires_grad_()
                    output, _ = run_operation(graph, operations, pools[node], {node: carries})
                rows = output.switches.div(value.shape[3], rounding_mode="floor")
                self._switches[pools[node]] = output.switches, rows

        # On a CPU max pooling is fifteen times as fast so, and crops are cut out in rows.
        images = images.contiguous(memory_format=torch.channels_last)
        run(graph, images, keep, up_to=[plan.node for plan in plans])

    def constant(self, node: fx.Node, units: Positions) -> Tensor:
        """A gate of whole maps, of each unit's image: `[U, C, 1, 1]`."""
        gate: Tensor = hold(self._maps[node][self._of(units)], "gate")
        return gate

    def _of(self, units: Positions) -> Tensor:
        """`[U]`: which of the images that were run is each unit's."""
        return torch.searchsorted(self._these, units.images)

    def values(self, plan: CropPlan, node: fx.Node, units: Positions) -> Tensor | None:
        """What an operation, or the graph's input, gives in crops of units: `[U, C, h, w]`.

        A blank where nobody looks at it; None where it has to be computed.
        """
        if node not in self._known[plan.node]:
            return None
        if node in self._looked_at[plan.node]:
            return self._cropped(self._maps[node], plan.nodes[node], units)
        channels = plan.channels.get(node, self._images.shape[1])
        return blank(self._images, (len(units.images), channels, *plan.nodes[node].size))

    def switches(self, plan: CropPlan, node: fx.Node, units: Positions) -> Tensor | None:
        """Where max pooling took its maxima, in crops of units; None where it has to be computed.

        `[U, C, h, w]` int64: places in the flattened crop of what it takes.
        """
        if node not in self._known[plan.node] or node not in self._switches:
            return None
        taken = plan.nodes[plan.pooled[node]]
        height, width = taken.size
        if (node, width) not in self._places:
            whole, rows = self._switches[node]
            self._places[node, width] = whole + rows * (width - taken.input_size[1])
        places = self._cropped(self._places[node, width], plan.nodes[node], units)
        tops, lefts = taken.starts(units.rows, units.columns)
        places -= (tops * width + lefts)[:, None, None, None]
        if units.beyond(plan.nodes[node]) is not None:
            # Where there is no window, any place will do: no signal comes down there.
            places.clamp_(0, height * width - 1)
        return places

    def _cropped(self, whole: Tensor, field: ReceptiveField, units: Positions) -> Tensor:
        starts = field.starts(units.rows, units.columns)
        return cut_out(whole, self._of(units), *starts, field.size)


def sharing_is_less_work(groups: Sequence[CropUnits], images: int) -> Tensor:
    """`[N]` bool: for which images one pass of the whole is less work than one of each crop."""
    if not any(group.plan.constants for group in groups):
        # Often they are few, and small, even if all were of one image.
        if sum(len(group) * group.plan.share for group in groups) <= 1:
            return torch.zeros(images, dtype=torch.bool)
    crops = torch.zeros(images, dtype=torch.float64)
    whole = torch.zeros(images, dtype=torch.float64)
    for group in groups:
        plan = group.plan
        number = group.units.images.bincount(minlength=images).cpu()
        if plan.constants:
            # They are computed from the whole image anyway.
            crops[number > 0] = inf
        crops += number * plan.share * plan.values
        whole = whole.maximum((number > 0) * float(plan.values))
    return crops > whole


def _blind_nodes(graph: Graph, operations: Operations, plan: CropPlan) -> set[fx.Node]:
    """The nodes whose rules need no input once their output is known."""
    if any(locality.held for locality in plan.localities.values()):
        # What is held has another rule.
        return set()
    blind = BLIND if operations.method.norm == "identity" else BLIND - {"local_response_norm"}
    if operations.method.name == "deconvnet":
        blind |= SMOOTH_RECTIFIERS.keys()
    rules = {
        node: operations.rule_of(graph.network, node)
        for node, locality in plan.localities.items()
        if locality.axes == STANDARD
    }
    pooled = plan.pooled.keys()
    return {
        node
        for node, rule in rules.items()
        if rule in blind or (rule in MAX_POOLING and node in pooled)
    }


def _needed_nodes(
    graph: Graph, operations: Operations, plan: CropPlan, blind: Collection[fx.Node]
) -> set[fx.Node]:
    """The nodes whose values are looked at, if they are not computed."""
    needed = {plan.node}
    for node in plan.localities:
        if node not in blind:
            needed.update(graph.sources(node))
        elif operations.method.name != "deconvnet":
            if operations.rule_of(graph.network, node) in RECTIFIERS:
                needed.add(node)
    return needed & {*blind, graph.input}
