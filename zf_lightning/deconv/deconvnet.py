"""Units of a network projected back to pixels (Sec. 2.1)."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from zf_lightning.deconv.graph import Graph, Recording
from zf_lightning.deconv.receptive_field import ReceptiveField, crop, receptive_fields
from zf_lightning.deconv.reversal import Mode, NormName, RuleName
from zf_lightning.deconv.rules import Operation, Rule
from zf_lightning.errors import UserError


@dataclass(frozen=True, slots=True)
class Unit:
    """One feature map at one position, for one image of a batch."""

    image: int
    layer: str
    feature_map: int
    row: int = 0
    column: int = 0


@dataclass(frozen=True)
class Units:
    """Units of one layer, as int64 tensors `[U]`."""

    layer: str
    images: Tensor
    feature_maps: Tensor
    rows: Tensor
    columns: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, which: Tensor | slice) -> "Units":
        return Units(
            self.layer,
            self.images[which],
            self.feature_maps[which],
            self.rows[which],
            self.columns[which],
        )


@dataclass(frozen=True)
class Projections:
    """Units mapped back to pixels, in the order in which they were asked for."""

    #: `[U, 3, H, W]`, or `[U, 3, h, w]` of each unit's window.
    pixels: Tensor
    #: `[U]`: the units' activations, which were the seeds of the projections.
    activations: Tensor


@dataclass(frozen=True)
class WindowProjections(Projections):
    """Projections of units of one layer, cut to the pixels that the units see."""

    #: `[U]` int64: where each window begins; negative beyond the border.
    tops: Tensor
    lefts: Tensor
    #: `[U, h, w]` bool: False beyond the border, where the projection is zero.
    inside: Tensor


class Deconvnet:
    """Projects units of a network back to the pixels that excited them.

    The seed is the unit's own activation, so that projections of different images compare, and a
    dead unit projects to exactly zero; biases take no part in the way down. The network is only
    read: its mode, hooks, gradients and the random state stay as they are, and weights that change
    later are seen.

    Args:
        network: takes images `[N, 3, H, W]`.
        rule: what a ReLU does to the signal, see `Mode`.
        norm: what contrast normalisation does to the signal, see `Mode`.
        rules: rules of the user's own, by module class, function or method name.
        batch_size: most images and most units that are worked on at a time.

    Raises:
        UserError: the network cannot be traced to a graph.

    Example:
        >>> deconvnet = Deconvnet(network)
        >>> unit = Unit(image=0, layer="conv5", feature_map=7, row=6, column=6)
        >>> deconvnet.project(images, [unit]).pixels  # [1, 3, H, W]
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        rule: RuleName = "deconvnet",
        norm: NormName = "identity",
        rules: Mapping[Operation, Rule] | None = None,
        batch_size: int = 32,
    ) -> None:
        self.mode = Mode(rule, norm)
        self.graph = Graph(network, rules=rules)
        self.batch_size = batch_size

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers with weights, from the input on."""
        return self.graph.layers

    @property
    def device(self) -> torch.device:
        """Where the network's weights are, and images have to be."""
        return self._weights().device

    def record(self, images: Tensor, layers: Collection[str]) -> Recording:
        """Run images `[N, 3, H, W]` up to `layers`, and keep what projecting their units needs.

        One recording serves any number of units; its `outputs` are the layers' feature maps.
        Raises UserError for a layer that does not exist, or an operation that has no rule.
        """
        if images.dim() != 4 or not images.is_floating_point():
            raise UserError(
                f"Images are float [N, C, H, W] as the network takes them, not {images.dtype} "
                f"{list(images.shape)}."
            )
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            return self.graph.record(images, layers, self.mode)

    def receptive_fields(
        self, layers: Collection[str], input_size: tuple[int, int]
    ) -> dict[str, ReceptiveField]:
        """Which pixels of an image of `input_size` (height, width) the units of `layers` see."""
        weights = self._weights()
        blank = torch.zeros(1, 3, *input_size, dtype=weights.dtype, device=weights.device)
        return receptive_fields(self.record(blank, layers))

    def project(self, images: Tensor, units: Sequence[Unit] | Units) -> Projections:
        """Project units, each to all the pixels of its image.

        Args:
            images: float `[N, 3, H, W]` as the network takes them.
            units: any number, of any layers; `image` is a position in `images`. Those of one
                image share its forward pass, those of one layer go down together.

        Raises:
            UserError: a unit does not exist, or an operation below it has no rule.
        """
        number = len(units)
        pixels = images.new_zeros(number, *images.shape[1:])
        activations = images.new_zeros(number)
        for recording, group, places in self._recorded(images, units):
            found = self.project_recorded(recording, group)
            pixels[places], activations[places] = found.pixels, found.activations
        return Projections(pixels, activations)

    def project_windows(self, images: Tensor, units: Sequence[Unit] | Units) -> WindowProjections:
        """Project units of one layer, each to the window that it sees.

        The windows are `ReceptiveField.tiles`, and the arguments those of `project`.
        """
        parts: list[tuple[WindowProjections, Tensor]] = []
        layers = {units.layer} if isinstance(units, Units) else {unit.layer for unit in units}
        if len(layers) != 1:
            raise UserError("Windows of different layers differ in size: project one layer a call.")
        for recording, group, places in self._recorded(images, units):
            parts.append((self.project_recorded_windows(recording, group), places))
        order = torch.cat([places for _, places in parts]).argsort()
        return WindowProjections(
            *(
                torch.cat([getattr(part, name) for part, _ in parts])[order]
                for name in ("pixels", "activations", "tops", "lefts", "inside")
            )
        )

    def project_recorded(self, recording: Recording, units: Units) -> Projections:
        """Project units of images that were recorded; `units.images` are places in that batch."""
        parts = list(self._projected(recording, units))
        return Projections(
            torch.cat([pixels for _, pixels, _ in parts]),
            torch.cat([activations for _, _, activations in parts]),
        )

    def project_recorded_windows(self, recording: Recording, units: Units) -> WindowProjections:
        """Like `project_recorded`, each unit to the window that it sees."""
        field = receptive_fields(recording)[units.layer]
        parts = []
        for some, pixels, activations in self._projected(recording, units):
            tops, lefts = field.tiles(some.rows, some.columns)
            each = torch.arange(len(some), device=pixels.device)
            windows, inside = crop(pixels, each, tops, lefts, field.tile_size)
            parts.append((windows, activations, tops, lefts, inside))
        return WindowProjections(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _weights(self) -> Tensor:
        parameters = self.graph.network.parameters()
        floating = (weights for weights in parameters if weights.is_floating_point())
        return next(floating, torch.empty(0))

    @torch.no_grad()
    def _projected(
        self, recording: Recording, units: Units
    ) -> Iterator[tuple[Units, Tensor, Tensor]]:
        """Batches of units with their projections `[U, 3, H, W]` and activations `[U]`."""
        output = recording.outputs[units.layer]
        for start in range(0, len(units), self.batch_size):
            some = units[start : start + self.batch_size]
            # A fully connected layer's units have no row and column.
            at = (some.feature_maps, some.rows, some.columns)[: output.dim() - 1]
            activations = output[(some.images, *at)]
            signal = output.new_zeros(len(some), *output.shape[1:])
            signal[(torch.arange(len(some), device=output.device), *at)] = activations
            with torch.autocast(output.device.type, enabled=False):
                pixels = self.graph.reverse(recording, units.layer, signal, some.images)
            yield some, pixels, activations

    def _recorded(
        self, images: Tensor, units: Sequence[Unit] | Units
    ) -> Iterator[tuple[Recording, Units, Tensor]]:
        """Recordings of the images that have units, with the units of each layer and their places.

        Every image is recorded once, at most `batch_size` at a time.
        """
        groups = _by_layer(units, images.device)
        for group, _ in groups:
            _check_range("image", group.images, len(images))
        needed = [group.images for group, _ in groups]
        chosen = torch.cat(needed).unique() if needed else images.new_zeros(0)
        for start in range(0, len(chosen), self.batch_size):
            some = chosen[start : start + self.batch_size]
            here = [
                (group[mask], places[mask])
                for group, places in groups
                if (mask := torch.isin(group.images, some)).any()
            ]
            recording = self.record(images[some], [group.layer for group, _ in here])
            for group, places in here:
                _check_unit(group, recording.outputs[group.layer])
                local = Units(
                    group.layer,
                    torch.searchsorted(some, group.images),
                    group.feature_maps,
                    group.rows,
                    group.columns,
                )
                yield recording, local, places


def _by_layer(units: Sequence[Unit] | Units, device: torch.device) -> list[tuple[Units, Tensor]]:
    """The units of each layer as tensors, with their places among all units."""
    if isinstance(units, Units):
        moved = (
            cast(Tensor, getattr(units, name)).to(device)
            for name in ("images", "feature_maps", "rows", "columns")
        )
        return [(Units(units.layer, *moved), torch.arange(len(units), device=device))]
    groups: dict[str, list[tuple[int, ...]]] = {}
    for place, unit in enumerate(units):
        numbers = (unit.image, unit.feature_map, unit.row, unit.column, place)
        groups.setdefault(unit.layer, []).append(numbers)
    found = []
    for layer, rows in groups.items():
        *columns, places = torch.tensor(rows, dtype=torch.int64, device=device).unbind(1)
        found.append((Units(layer, *columns), places))
    return found


def _check_unit(units: Units, output: Tensor) -> None:
    names = ("feature map", "row", "column")
    # A fully connected layer's units have no position: row and column must be 0.
    sizes = (*output.shape[1:], 1, 1)[:3]
    numbers = (units.feature_maps, units.rows, units.columns)
    for name, values, size in zip(names, numbers, sizes, strict=True):
        _check_range(f"{units.layer}: {name}", values, size)


def _check_range(name: str, values: Tensor, size: int) -> None:
    outside = values[(values < 0) | (values >= size)]
    if len(outside):
        raise UserError(f"{name} {int(outside[0])} does not exist: there are {size}.")
