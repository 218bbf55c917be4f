"""Specificity: what of a projection belongs to its unit, and not to whatever responds there.

Other maps that are active at the unit's position see the same pixels. How alike their projections
are says how much of a picture could be anyone's; how alike they still are once the same `k`
strongest maps are taken away from both says what contrast achieves (`deconv/contrast.py`).
It is measured with maps that were not taken away: from the others a contrastive projection is at
right angles by construction.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from zf_lightning.deconv import Deconvnet, Units
from zf_lightning.deconv.contrast import projections_beside, strongest_others, take_away


@dataclass(frozen=True)
class Specificity:
    """Of U units of a layer, beside M other maps active at each one's position; on the CPU."""

    #: `[U, 3, h, w]` in the tiles of the receptive field: the projections, plain and contrastive.
    plain: Tensor
    contrastive: Tensor
    #: `[U, 3, h, w]`: the projection of another map at the same position; zero if there is none.
    other: Tensor
    #: `[U]` in 0..1: of the projection's squared norm, what the `k` strongest maps do not explain.
    share: Tensor
    #: `[U, M]` in -1..1: cosine of the projection with each other map's, before and after the `k`
    #: strongest were taken away from both; NaN where there is no such map, or nothing left.
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
        k: how many of the strongest other maps are taken away.
        held_out: with how many of the remaining active maps it is compared, drawn from the seed.
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
    other = values[1] if len(values) > 1 else torch.zeros_like(values[0])
    contrastive = left[0].view_as(values[0]).to(values.dtype)
    return values[0], contrastive, other, share, _cosines(flat, held_out), _cosines(left, held_out)


def _cosines(values: Tensor, number: int) -> Tensor:
    """Cosines of the first of some vectors with the others: `[number]`, NaN for what is missing."""
    directions = values / values.norm(dim=1, keepdim=True)
    found = values.new_full((number,), torch.nan)
    found[: len(values) - 1] = directions[1:] @ directions[0]
    return found
