"""What of a layer depends on the size of the images alone: its shape, and which pixels it sees."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from zf_lightning.deconv.graph import Graph
from zf_lightning.deconv.receptive_field import ReceptiveField, receptive_fields
from zf_lightning.deconv.recording import Recording
from zf_lightning.deconv.windows import WindowPlan, plan_windows
from zf_lightning.errors import UserError


@dataclass(frozen=True)
class Geometry:
    """Of one layer, for one size of images."""

    #: `(C, H, W)` or `(C,)`.
    shape: tuple[int, ...]
    #: None where its units are not computed in windows.
    plan: WindowPlan | None
    field: ReceptiveField | UserError

    @property
    def receptive_field(self) -> ReceptiveField:
        """Raises UserError where the layer's units have no window in the image."""
        if isinstance(self.field, UserError):
            raise self.field
        return self.field


class Geometries:
    """The geometry of layers of a network, each found once, with a blank image.

    Args:
        graph: of the network.
        record: runs images `[N, C, H, W]` up to layers.
    """

    def __init__(
        self, graph: Graph, record: Callable[[Tensor, Collection[str]], Recording]
    ) -> None:
        self._graph = graph
        self._record = record
        self._known: dict[tuple[str, tuple[int, ...]], Geometry] = {}

    def of(self, layers: Collection[str], shape: tuple[int, ...]) -> dict[str, Geometry]:
        """For images of a shape `(C, H, W)`; raises UserError for a layer that does not exist."""
        unknown = [layer for layer in layers if (layer, shape) not in self._known]
        if unknown:
            weights = self._graph.weights
            blank = torch.zeros(1, *shape, dtype=weights.dtype, device=weights.device)
            recording = self._record(blank, unknown)
            fields = receptive_fields(recording)
            for layer in unknown:
                self._known[layer, shape] = Geometry(
                    tuple(recording.outputs[layer].shape[1:]),
                    plan_windows(self._graph, recording, layer),
                    fields[layer],
                )
        return {layer: self._known[layer, shape] for layer in layers}
