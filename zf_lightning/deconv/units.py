"""What is projected, and what comes out: units of a batch of images (Sec. 2.1)."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

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


def by_layer(units: Sequence[Unit] | Units, device: torch.device) -> list[tuple[Units, Tensor]]:
    """The units of each layer as tensors, with their places among all units."""
    if isinstance(units, Units):
        _check_whole(units.images, units.feature_maps, units.rows, units.columns)
        moved = (
            cast(Tensor, getattr(units, name)).to(device, torch.int64)
            for name in ("images", "feature_maps", "rows", "columns")
        )
        return [(Units(units.layer, *moved), torch.arange(len(units), device=device))]
    groups: dict[str, list[tuple[int, ...]]] = {}
    for place, unit in enumerate(units):
        numbers = (unit.image, unit.feature_map, unit.row, unit.column, place)
        groups.setdefault(unit.layer, []).append(numbers)
    found = []
    for layer, rows in groups.items():
        table = torch.tensor(rows, device=device)
        _check_whole(table)
        *columns, places = table.unbind(1)
        found.append((Units(layer, *columns), places))
    return found


def _check_whole(*numbers: Tensor) -> None:
    for values in numbers:
        if values.is_floating_point() or values.dtype == torch.bool:
            raise UserError(f"Units are given by whole numbers, not by {values.dtype}.")


def check_images(images: Tensor, weights: Tensor) -> None:
    """Raise UserError for images that are not as a network with these weights takes them.

    Weights of 16 bits are used as they are, of which the user is warned.
    """
    if images.dim() != 4 or not images.is_floating_point():
        raise UserError(
            f"Images are float [N, C, H, W] as the network takes them, not {images.dtype} "
            f"{list(images.shape)}."
        )
    for name, mine, its in (
        ("", images.dtype, weights.dtype),
        ("on ", images.device, weights.device),
    ):
        if weights.numel() and mine != its:
            raise UserError(f"The images are {name}{mine}, but the network is {name}{its}.")
    if images.dtype == torch.bfloat16:
        warnings.warn(
            "The network is bfloat16, and projections differ by up to a tenth from those of "
            "float32: Deconvnet(copy.deepcopy(network).float()) projects in full.",
            stacklevel=3,
        )


def check_unit(units: Units, shape: tuple[int, ...]) -> None:
    names = ("feature map", "row", "column")
    # A fully connected layer's units have no position: row and column must be 0.
    sizes = (*shape, 1, 1)[:3]
    numbers = (units.feature_maps, units.rows, units.columns)
    for name, values, size in zip(names, numbers, sizes, strict=True):
        check_range(f"{units.layer}: {name}", values, size)


def check_range(name: str, values: Tensor, size: int) -> None:
    outside = values[(values < 0) | (values >= size)]
    if len(outside):
        raise UserError(f"{name} {int(outside[0])} does not exist: there are {size}.")
