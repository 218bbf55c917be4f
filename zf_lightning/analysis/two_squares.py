"""Two squares inside a unit's receptive field, hidden in turn: which one lowers the unit more?

A unit responds most to its centre, so a mere blob at the centre would rank unmatched squares well.
Here the second square is the first, mirrored or transposed, and a blob is right for exactly half of
the pairs. The squares lie in the middle of the field, where hiding has an effect; each pair is
weighted by how much the two effects differ. A tie counts half.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zf_lightning.analysis.place_response import PlaceResponse
from zf_lightning.analysis.squares import hide

#: Shares of the receptive field's side: that of a square, and its distance from the border.
SQUARE, BORDER = 1 / 7, 1 / 6
#: Relative difference of two importances below which they are a tie.
TIE = 1e-6


@dataclass(frozen=True)
class TwoSquares:
    """P pairs of squares, hidden before one unit."""

    #: `[P, 2, 2]` (pair, square, axis): first rows and columns in the unit's window.
    starts: Tensor
    #: Of the squares, in pixels.
    side: int
    #: `[C]` float64: the activations of all maps at the unit's position, with nothing hidden.
    before: Tensor
    #: `[P, 2]` float64 on the CPU: the unit's relative drop, and that of all other active maps at
    #: its position together.
    own: Tensor
    others: Tensor

    def agreement(self, importances: Tensor) -> tuple[Tensor, Tensor]:
        """Share of the pairs that importances `[h, w]` of the window rank right.

        Returns that of the effects on the unit, and of those beyond the effects on the other maps;
        NaN where no pair has an effect.
        """
        inside = _sums(importances.to(torch.float64).cpu(), self.starts, self.side)
        return _agreement(inside, self.own), _agreement(inside, self.own - self.others)


def hide_two_squares(
    response: PlaceResponse,
    feature_map: int,
    hiding: Tensor,
    *,
    pairs: int,
    generator: torch.Generator,
) -> TwoSquares:
    """Hide pairs of squares before one unit.

    Args:
        response: of the unit's image, layer and position.
        hiding: what stands in a square instead: `[3, h, w]` of the window.
        pairs: at most so many.
    """
    starts, side = square_pairs(response, pairs, generator)
    pixels = response.pixels.expand(2 * len(starts), -1, -1, -1)
    hidden = hide(pixels, starts.flatten(0, 1), side, hiding)
    activations = response(torch.cat([response.pixels[None], hidden])).double()
    before, after = activations[0], activations[1:]
    return TwoSquares(starts, side, before, *_lowered(before, after, feature_map))


def square_pairs(
    response: PlaceResponse, number: int, generator: torch.Generator
) -> tuple[Tensor, int]:
    """Pairs of squares in a position's window, equally far from the centre of its tile.

    Returns first rows and columns `[P, 2, 2]` (pair, square, axis) in the window, with P at most
    `number`, and the side in pixels. The squares of a pair do not overlap.
    """
    tile, window = response.tile, response.window
    side = max(1, round(SQUARE * min(tile.height, tile.width)))
    ends = torch.tensor([tile.height - side, tile.width - side])
    least = (BORDER * (ends + side)).long().minimum(ends // 2)
    # More than needed: some mirror images overlap or lie beyond the border.
    count = 40 * number
    first = torch.stack(
        [
            torch.randint(int(low), int(end - low) + 1, (count,), generator=generator)
            for low, end in zip(least, ends, strict=True)
        ],
        1,
    )
    second = first.where(torch.rand(count, 2, generator=generator) < 0.5, ends - first)
    if tile.height == tile.width:
        turned = torch.rand(count, 1, generator=generator) < 0.5
        second = second.flip(1).where(turned, second)
    pairs = torch.stack([first, second], 1)
    pairs = pairs - torch.tensor([window.top - tile.top, window.left - tile.left])
    room = torch.tensor([window.height - side, window.width - side])
    usable = ((pairs >= 0) & (pairs <= room)).all(2).all(1)
    usable &= ((first - second).abs() >= side).any(1)
    return pairs[usable][:number], side


def _lowered(before: Tensor, after: Tensor, feature_map: int) -> tuple[Tensor, Tensor]:
    """Relative drop `[P, 2]` of a map, and of all other maps together, for pairs of squares."""
    active = before > 0
    active[feature_map] = False
    own = 1 - after[:, feature_map] / before[feature_map]
    total = before[active].sum()
    others = 1 - after[:, active].sum(1) / total if total > 0 else torch.zeros_like(own)
    return own.cpu().view(-1, 2), others.cpu().view(-1, 2)


def _sums(values: Tensor, starts: Tensor, side: int) -> Tensor:
    """Sums `[P, 2]` of values `[h, w]` over squares."""
    if not len(starts):
        return values.new_zeros(0, 2)
    sums = F.avg_pool2d(values[None, None], side, 1, divisor_override=1)[0, 0]
    return sums[starts[..., 0], starts[..., 1]]


def _agreement(importances: Tensor, effects: Tensor) -> Tensor:
    """Share of pairs `[P, 2]`, weighted by the difference of effects, that importance ranks right.

    A tie of the importances counts half.
    """
    difference = importances[:, 0] - importances[:, 1]
    tie = difference.abs() <= TIE * importances.abs().amax(1)
    effect = effects[:, 0] - effects[:, 1]
    agreed = (difference.masked_fill(tie, 0).sign() * effect).sum()
    return (1 + agreed / effect.abs().sum()) / 2
