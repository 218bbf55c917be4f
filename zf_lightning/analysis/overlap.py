"""Near-duplicates between two sets of images, by normalised correlation (Sec. 5.2).

The paper finds 44 images of Caltech-101 and 243 of Caltech-256 in ImageNet so, and trains without
them. It does not say what is correlated: here the colours of the centre square at 32×32 pixels,
fine enough to tell photographs apart, too coarse for compression, size or brightness to matter.

Axes: N images of the one set, M of the other, D values of an image.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

#: Height and width in pixels at which images are compared.
SIZE = 32
#: Pictures that vary less than this, in 0..255, are of one colour: they correlate with anything.
PLAIN = 2.0


@dataclass(frozen=True)
class Pair:
    """Two images that look the same, by their positions in the two sets."""

    first: int
    second: int
    #: From -1 to 1.
    correlation: float


def signatures(images: Tensor) -> Tensor:
    """Vectors `[N, D]`, float32, whose products are the correlations of uint8 `[N, 3, H, W]`.

    Their mean is 0 and their length 1; pictures of one colour are all zero and match nothing.
    """
    small = functional.adaptive_avg_pool2d(images.float(), SIZE).flatten(1)
    small = small - small.mean(1, keepdim=True)
    length = small.norm(dim=1, keepdim=True)
    plain = length < PLAIN * small.shape[1] ** 0.5
    return torch.where(plain, 0.0, small / length.clamp(min=1e-12))


def correlated_pairs(
    known: Tensor, others: Iterable[tuple[Tensor, Tensor]], *, threshold: float
) -> list[Pair]:
    """Pairs of a known image and another that correlate at `threshold` or more, the highest first.

    Args:
        known: signatures `[N, D]` of the set that fits into memory.
        others: positions int64 `[m]` and signatures `[m, D]` of the other set, part by part.
    """
    found = []
    for positions, part in others:
        correlations = part @ known.T
        for other, one in (correlations >= threshold).nonzero().tolist():
            # Rounding may lift identical images above 1.
            value = min(1.0, float(correlations[other, one]))
            found.append(Pair(one, int(positions[other]), value))
    return sorted(found, key=lambda pair: (-pair.correlation, pair.first, pair.second))
