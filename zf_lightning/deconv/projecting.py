"""Units projected some at a time: each in the window that it sees, or with the whole image."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from zf_lightning.deconv.arithmetic import float32_arithmetic
from zf_lightning.deconv.graph import Graph
from zf_lightning.deconv.recording import Recording
from zf_lightning.deconv.reversal import Mode
from zf_lightning.deconv.units import Units
from zf_lightning.deconv.windows import Positions, WindowPlan, record_windows


class Part(NamedTuple):
    """Some of the units that were asked for, projected."""

    group: int
    units: Units
    #: `[U]`: their places among the units of the group.
    places: Tensor
    #: `[U, C, h, w]`: of the whole images, or of windows of the unit.
    pixels: Tensor
    activations: Tensor
    #: First row and first column `[U]` of the windows; None for whole images.
    starts: tuple[Tensor, Tensor] | None


@dataclass(frozen=True)
class Projector:
    """Runs images up a graph and sends units down it, in full precision.

    Args:
        graph: of the network.
        mode: how it is reversed.
        batch_size: most images and most units that are worked on at a time.
    """

    graph: Graph
    mode: Mode
    batch_size: int

    def record(self, images: Tensor, layers: Collection[str]) -> Recording:
        """Run images `[N, 3, H, W]` up to `layers`."""
        with float32_arithmetic(images.device):
            return self.graph.record(images, layers, self.mode)

    def in_windows(
        self, images: Tensor, plan: WindowPlan, number: int, units: Units, places: Tensor
    ) -> Part:
        """Units of a layer, each in the window that it sees; no more than `batch_size` of them."""
        positions = Positions(units.images, units.rows, units.columns)
        with float32_arithmetic(images.device):
            recording = record_windows(self.graph, plan, self.mode, images, positions)
            each = torch.arange(len(units), device=images.device)
            zeros = torch.zeros_like(each)
            local = Units(units.layer, each, units.feature_maps, zeros, zeros)
            pixels, activations = self._reversed(recording, local)
        starts = plan.nodes[self.graph.input].starts(units.rows, units.columns)
        return Part(number, units, places, pixels, activations, starts)

    def in_whole_images(
        self, images: Tensor, groups: Sequence[tuple[int, Units]]
    ) -> Iterator[Part]:
        """Every image that has units is run once for all layers, `batch_size` at a time."""
        if not groups:
            return
        chosen = torch.cat([group.images for _, group in groups]).unique()
        for start in range(0, len(chosen), self.batch_size):
            some = chosen[start : start + self.batch_size]
            here = [
                (number, group[mask], mask.nonzero()[:, 0])
                for number, group in groups
                if (mask := torch.isin(group.images, some)).any()
            ]
            recording = self.record(images[some], {units.layer for _, units, _ in here})
            for number, units, places in here:
                local = replace(units, images=torch.searchsorted(some, units.images))
                for first in range(0, len(units), self.batch_size):
                    part = slice(first, first + self.batch_size)
                    with float32_arithmetic(images.device):
                        pixels, activations = self._reversed(recording, local[part])
                    yield Part(number, units[part], places[part], pixels, activations, None)

    def _reversed(self, recording: Recording, units: Units) -> tuple[Tensor, Tensor]:
        """Units of recorded images projected, `[U, C, H, W]`, and their activations `[U]`."""
        output = recording.outputs[units.layer]
        # A fully connected layer's units have no row and column.
        at = (units.feature_maps, units.rows, units.columns)[: output.dim() - 1]
        activations = output[(units.images, *at)]
        signal = output.new_zeros(len(units), *output.shape[1:])
        signal[(torch.arange(len(units), device=output.device), *at)] = activations
        return self.graph.reverse(recording, units.layer, signal, units.images), activations
