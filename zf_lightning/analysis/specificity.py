"""Specificity: how much of a projection belongs to its unit rather than to any map active there.

Other maps that are active at the unit's position see the same pixels. The similarity of their
projections shows how much of a picture could be anyone's; the similarity that remains after the
same `k` strongest maps are removed from both shows what contrast achieves (`deconv/contrast.py`).
It is measured against maps that were not removed: a contrastive projection is orthogonal to the
removed ones by construction.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from zf_lightning.deconv import Deconvnet, Units
from zf_lightning.deconv.contrast import projections_beside, strongest_others, take_away


@dataclass(frozen=True)
class Specificity:
    """Of U units of a layer and M other maps active at each one's position; on the CPU."""

    #: `[U, 3, h, w]` in the tiles of the receptive field: the projections, plain and contrastive.
    plain: Tensor
    contrastive: Tensor
    #: `[U, 3, h, w]`: the projection of another map at the same position: one that was not removed,
    #: else the strongest; zero if no other map is active there.
    other: Tensor
    #: `[U]` in 0..1: share of the projection's squared norm that the `k` strongest maps leave.
    share: Tensor
    #: `[U, M]` in -1..1: cosine with each other map's projection, before and after removing the
    #: `k` strongest from both; NaN where there is no such map, or nothing is left.
    cosines: Tensor
    contrastive_cosines: Tensor


def specificity(
    deconvnet: Deconvnet,
    images: Tensor,
    units: Units,
    *,
    k: int = 16,
    held_out: int = 8,
    seed: int = 0,
) -> Specificity:
    """Project units, and compare each with other maps active at its position.

    Args:
        images: float `[N, 3, H, W]` as the network takes them.
        units: of one layer.
        k: number of the strongest other maps to remove.
        held_out: number of the remaining active maps to compare with, drawn from the seed.
    """
    ordered = strongest_others(deconvnet, images, units, k=2**31).cpu()
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for number in range(len(units)):
        active = ordered[number][ordered[number] >= 0]
        beyond = active[k:][torch.randperm(max(0, len(active) - k), generator=generator)]
        own = units[number : number + 1]
        maps = torch.cat([own.feature_maps.cpu(), beyond[:held_out], active[:k]])
        values = projections_beside(deconvnet, images, own, maps[None].to(images.device))[0]
        compared = 1 + len(beyond[:held_out])
        parts.append(_compared(values[:compared].cpu(), values[compared:].cpu(), held_out))
    return Specificity(*map(torch.stack, zip(*parts, strict=True)))


def _compared(values: Tensor, strongest: Tensor, held_out: int) -> tuple[Tensor, ...]:
    """The parts of `Specificity` for one unit: its projection and others' `[1 + M, 3, h, w]`."""
    flat = values.flatten(1).double()
    taken = strongest.flatten(1).expand(len(flat), -1, -1)
    left = take_away(flat, taken)[0]
    share = left[0].square().sum() / flat[0].square().sum()
    others = torch.cat([values[1:], strongest])
    other = others[0] if len(others) else torch.zeros_like(values[0])
    contrastive = left[0].view_as(values[0]).to(values.dtype)
    return values[0], contrastive, other, share, _cosines(flat, held_out), _cosines(left, held_out)


def _cosines(values: Tensor, number: int) -> Tensor:
    """Cosines of the first vector with the others: `[number]`, padded with NaN."""
    directions = values / values.norm(dim=1, keepdim=True)
    found = values.new_full((number,), torch.nan)
    found[: len(values) - 1] = directions[1:] @ directions[0]
    return found
