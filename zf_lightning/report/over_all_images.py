"""What a page and a table say of a feature map in all images, not only in its strongest few."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from zf_lightning.analysis.distributions import MapDistribution
from zf_lightning.figures.grid import readable

OVER_ALL_IMAGES = (
    "share of images that excite it",
    "class that it detects best",
    "average precision",
)
#: Of a feature map that was not described.
NOT_KNOWN: dict[str, Any] = dict.fromkeys(OVER_ALL_IMAGES)


def over_all_images(one: MapDistribution, classes: Sequence[str]) -> dict[str, Any]:
    """What a page says of a feature map: how often it is excited, what it detects, quantiles."""
    detects = [
        {
            "class": classes[found.label],
            "precision": f"{found.average_precision:.2f}",
            "share": f"{found.share:.2f}",
            "f1": f"{found.f1:.2f}",
        }
        for found in one.classes
    ]
    return {
        "images": one.images,
        "excited": f"{100 * one.excited:.3g} %",
        "bars": _bars(one.histogram),
        "detects": detects,
        "quantiles": [
            {
                "quantile": example.quantile,
                "activation": readable(example.activation) if example.activation > 0 else None,
                "image": example.index,
                "label": -1,
            }
            for example in one.quantiles
        ],
    }


def row_over_all_images(one: MapDistribution, classes: Sequence[str]) -> dict[str, Any]:
    """What a table says of it, by column."""
    # As many digits as the page shows.
    row = NOT_KNOWN | {OVER_ALL_IMAGES[0]: float(f"{one.excited:.3g}")}
    for best in one.classes[:1]:
        found = (classes[best.label], round(best.average_precision, 2))
        row |= dict(zip(OVER_ALL_IMAGES[1:], found, strict=True))
    return row


def _bars(histogram: Sequence[tuple[float, float, int]]) -> dict[str, Any] | None:
    """Positive activations from 2^n to 1.5 · 2^n to 2^(n + 1): limits, and counts without a gap."""
    found: Counter[int] = Counter()
    for low, high, images in histogram:
        if high > 0:
            # The lowest bucket reaches down to 0.
            share, power = math.frexp(low or high / 2)
            found[2 * power + (share >= 0.75)] += images
    if not found:
        return None

    def limit(place: int) -> float:
        return math.ldexp(0.75 if place % 2 else 0.5, place // 2)

    first, last = min(found), max(found)
    return {
        "from": readable(limit(first)),
        "to": readable(limit(last + 1)),
        "counts": [found[place] for place in range(first, last + 1)],
    }
