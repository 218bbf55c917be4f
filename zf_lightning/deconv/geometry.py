"""Geometry: what of a layer depends on the size of the images alone."""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from zf_lightning.deconv.crops import CropPlan, plan_crops
from zf_lightning.deconv.locality import Locality
from zf_lightning.deconv.projection import ForwardState
from zf_lightning.deconv.receptive_field import ReceptiveField, fields_below
from zf_lightning.errors import UserError
from zf_lightning.graph.network import Graph


@dataclass(frozen=True)
class Geometry:
    """Of one layer, for one size of images."""

    #: `(C, H, W)` or `(C,)`.
    shape: tuple[int, ...]
    #: None where its units are not computed in crops.
    plan: CropPlan | None
    receptive_field: ReceptiveField


class Geometries:
    """The geometry of layers of a network, each found once, with a blank image.

    Args:
        graph: of the network.
        forward: runs images `[N, C, H, W]` up to nodes.
    """

    def __init__(
        self, graph: Graph, forward: Callable[[Tensor, Mapping[str, fx.Node]], ForwardState]
    ) -> None:
        self._graph, self._forward = graph, forward
        self._known: dict[tuple[str, tuple[int, ...]], Geometry] = {}

    def of(self, layers: Collection[str], shape: tuple[int, ...]) -> dict[str, Geometry]:
        """For images of a shape `(C, H, W)`; raises UserError for a layer that does not exist."""
        unknown = [layer for layer in layers if (layer, shape) not in self._known]
        if unknown:
            weights = self._graph.weights
            # Two images, so that an axis of images is known from one of a single map.
            blank = torch.zeros(2, *shape, dtype=weights.dtype, device=weights.device)
            state = self._forward(blank, self._graph.nodes(unknown))
            constants = self._constants(state.localities, state.shapes)
            for layer in unknown:
                self._known[layer, shape] = self._find(state, layer, constants)
        return {layer: self._known[layer, shape] for layer in layers}

    def _find(self, state: ForwardState, layer: str, constants: frozenset[fx.Node]) -> Geometry:
        node, shape = state.nodes[layer], tuple(state.outputs[layer].shape[1:])
        where = state.localities, state.shapes
        fields = None
        with suppress(UserError):
            fields = fields_below(self._graph, node, *where)
        if fields is not None:
            seen = fields[self._graph.input]
        else:
            # Branches of different strides, or one that sees everything: that is then taken of all.
            _, height, width = state.shapes[self._graph.input]
            size = height, width
            maps = (shape[-2], shape[-1]) if len(shape) > 1 else (1, 1)
            seen = ReceptiveField(size, (0, 0), (0, 0), maps, size)
        if constants:
            fields = None
            with suppress(UserError):
                fields = fields_below(self._graph, node, *where, constants=constants)
        plan = None
        if fields is not None:
            plan = plan_crops(self._graph, node, fields, *where, constants)
        return Geometry(shape, plan, seen)

    def _constants(
        self,
        localities: Mapping[fx.Node, Locality],
        shapes: Mapping[fx.Node, tuple[int, ...]],
    ) -> frozenset[fx.Node]:
        """Gates of whole maps: no signal goes down from them."""
        return frozenset(
            source
            for node, locality in localities.items()
            if locality.gated
            for source in self._graph.sources(node)
            if source in localities and localities[source].held and shapes[source][1:] == (1, 1)
        )
