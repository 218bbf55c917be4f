"""Contrastive projections: what the other feature maps active at the same place do not explain.

Units of different feature maps at one position see the same pixels, and their projections show much
the same: what is there, hardly which map responds (Nie et al., 2018). So the part that is common to
them is taken away: from a unit's projection, its least-squares fit by the projections of the `k`
strongest other maps at its position. What is left is orthogonal to each of these.

The definition is ours; the paper has no such step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zf_lightning.deconv.deconvnet import Deconvnet
from zf_lightning.deconv.units import Unit, Units, WindowProjections, by_layer
from zf_lightning.errors import UserError


@dataclass(frozen=True)
class Contrast:
    """Projections of U units of a layer, before and after the other maps' are taken away."""

    plain: WindowProjections
    #: `[U, 3, h, w]`, in the windows of `plain`.
    pixels: Tensor
    #: `[U, k]` int64: the other feature maps, strongest first; -1 where fewer are active.
    others: Tensor
    #: `[U, k]` float64: how much of each one's projection was taken away.
    weights: Tensor

    @property
    def share(self) -> Tensor:
        """`[U]` float64 in 0..1: of a projection's squared norm, what the others do not explain.

        NaN where the projection is zero.
        """
        return _squared_norm(self.pixels) / _squared_norm(self.plain.pixels)


def contrast(
    deconvnet: Deconvnet, images: Tensor, units: Sequence[Unit] | Units, *, k: int = 16
) -> Contrast:
    """Project units of one layer, and take away what the strongest other maps there explain.

    Costs 1 + `k` projections a unit. With `method="gradient"` the result is the gradient of a
    linear combination of the maps at the unit's position.

    Args:
        images: float `[N, 3, H, W]` as the network takes them.
        units: of one layer; `image` is a position in `images`.
        k: how many other maps, by their activation; those that are not active (0 or less) never
            count.

    Raises:
        UserError: `k` is not positive, units are of several layers or none, a unit does not exist,
            or an operation below it has no rule.
    """
    if k < 1:
        raise UserError(f"contrast={k} must be at least 1: so many other maps are taken away.")
    groups = by_layer(units, images.device)
    if len(groups) != 1:
        raise UserError("Contrast is between feature maps of one layer: give units of one layer.")
    group = groups[0][0]
    plain = deconvnet.project_windows(images, group)
    others = strongest_others(deconvnet, images, group, k=k)
    pixels, weights = [], []
    for start in range(0, len(group), deconvnet.batch_size):
        some = slice(start, start + deconvnet.batch_size)
        projected = projections_beside(deconvnet, images, group[some], others[some])
        left, of_each = take_away(plain.pixels[some].flatten(1), projected.flatten(2))
        pixels.append(left.view_as(plain.pixels[some]))
        weights.append(of_each)
    return Contrast(plain, torch.cat(pixels), others, torch.cat(weights))


def strongest_others(deconvnet: Deconvnet, images: Tensor, units: Units, *, k: int) -> Tensor:
    """The `k` strongest other maps at the units' positions: `[U, k]`, -1 where fewer are active."""
    which, inverse = units.images.unique(return_inverse=True)
    parts = [
        deconvnet.feature_maps(images[some], [units.layer])[units.layer]
        for some in which.split(deconvnet.batch_size)
    ]
    maps = torch.cat(parts)
    maps = maps[:, :, None, None] if maps.dim() == 2 else maps
    each = torch.arange(len(units), device=maps.device)
    activations = maps[inverse, :, units.rows, units.columns].clone()
    activations[each, units.feature_maps] = 0
    values, found = activations.topk(min(k, activations.shape[1]), dim=1)
    return found.where(values > 0, -1)


def projections_beside(deconvnet: Deconvnet, images: Tensor, units: Units, maps: Tensor) -> Tensor:
    """Projections `[U, k, 3, h, w]` of `maps` `[U, k]` at the units' positions; zero for -1."""
    unit, rank = (maps >= 0).nonzero(as_tuple=True)
    at = units[unit]
    beside = Units(units.layer, at.images, maps[unit, rank], at.rows, at.columns)
    size = deconvnet.receptive_fields([units.layer], (images.shape[2], images.shape[3]))[
        units.layer
    ].tile_size
    found = images.new_zeros(*maps.shape, images.shape[1], *size)
    if len(beside):
        found[unit, rank] = deconvnet.project_windows(images, beside).pixels
    return found


def take_away(values: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors `[U, D]` without their least-squares fit by others `[U, k, D]`, and its weights.

    Others that are zero, or depend linearly on the rest, are allowed.
    """
    wide = others.double()
    norms = wide.norm(dim=2, keepdim=True)
    directions = wide / norms.where(norms > 0, 1)
    products = directions @ directions.mT
    # Not `lstsq`, which on a GPU needs others that are independent.
    fit = torch.linalg.pinv(products, hermitian=True, rtol=1e-9) @ (
        directions @ values.double()[:, :, None]
    )
    left = values.double() - (directions.mT @ fit)[:, :, 0]
    weights = (fit / norms.where(norms > 0, 1))[:, :, 0]
    return left.to(values.dtype), weights


def _squared_norm(pixels: Tensor) -> Tensor:
    return pixels.double().square().sum((1, 2, 3))
