"""Near-duplicates between two sets of images, by normalised correlation (Sec. 5.2).

The paper finds 44 images of Caltech-101 and 243 of Caltech-256 in ImageNet this way, and trains
without them. It does not say what is correlated. Here it is the colours of the centre square at
32×32 pixels: fine enough to tell photographs apart, too coarse for compression or size to matter.

Axes: N images of the first set, m of a part of the second, D values of an image.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

#: Height and width of the compared images, in pixels.
SIZE = 32
#: Standard deviation, in 0..255, below which a picture counts as one colour: it would correlate
#: with anything.
PLAIN = 2.0


@dataclass(frozen=True)
class Pair:
    """Two images that look the same, by their positions in the two sets."""

    first: int
    second: int
    #: From -1 to 1.
    correlation: float


def signatures(images: Tensor) -> Tensor:
    """Vectors `[N, D]` float32 of mean 0 and length 1: their products are correlations of images.

    `images` are uint8 `[N, 3, H, W]`. Pictures of one colour become zeros, which match nothing.
    """
    small = functional.adaptive_avg_pool2d(images.float(), SIZE).flatten(1)
    small = small - small.mean(1, keepdim=True)
    length = small.norm(dim=1, keepdim=True)
    plain = length < PLAIN * small.shape[1] ** 0.5
    return torch.where(plain, 0.0, small / length.clamp(min=1e-12))


def correlated_pairs(
    known: Tensor, others: Iterable[tuple[Tensor, Tensor]], *, threshold: float
) -> list[Pair]:
    """Pairs of images that correlate at `threshold` or more, the highest first.

    Args:
        known: signatures `[N, D]` of the first set, in memory.
        others: positions int64 `[m]` and signatures `[m, D]` of the second set, part by part.
    """
    found = []
    for positions, part in others:
        correlations = part @ known.T
        for other, one in (correlations >= threshold).nonzero().tolist():
            # Again, alone: the rounding of the matrix product depends on the other images of the
            # part. Here, too, it may put identical images above 1.
            value = min(1.0, float(part[other].cpu().double() @ known[one].cpu().double()))
            found.append(Pair(one, int(positions[other]), value))
    return sorted_pairs(found)


def sorted_pairs(pairs: Iterable[Pair]) -> list[Pair]:
    """The highest correlations first."""
    return sorted(pairs, key=lambda pair: (-pair.correlation, pair.first, pair.second))
