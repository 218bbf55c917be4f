"""Which class a feature map detects: average precision and F1 of its activation, class by class.

The activation of an image is the score of a detector of each class in turn, as Oikarinen et al.
(ICML 2025) compare descriptions of units: unlike the mean activation of a class, neither measure is
satisfied by a map that answers to everything, or to a few images of the class only.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassScores:
    """A feature map as a detector of each of K classes; NaN for a class without images."""

    #: `[K]`: area under the curve of precision over recall, as a sum of steps; in [0, 1]. A map
    #: that tells nothing has the class's share of the images.
    average_precision: NDArray[np.float64]
    #: `[K]`: the largest F1 of any threshold, in [0, 1].
    f1: NDArray[np.float64]
    #: `[K]`: the activation from which on an image is called one of the class, for that F1.
    threshold: NDArray[np.float64]


def class_scores(
    activations: NDArray[np.floating], labels: NDArray[np.integer], classes: int
) -> ClassScores:
    """Rank images by one feature map's activation, and score the ranking for every class at once.

    Images with equal activations are called together. Images without a class (a negative label) or
    without an activation (NaN) are left out.

    Args:
        activations: `[N]`.
        labels: `[N]`, from 0 to `classes` - 1.
        classes: K.
    """
    known = (labels >= 0) & ~np.isnan(activations)
    values, labels = activations[known], labels[known]
    order = np.argsort(-values, kind="stable")
    values, labels = values[order], labels[order]
    number = len(values)
    total = np.bincount(labels, minlength=classes)
    # How many images have at least the activation of this one.
    called = np.searchsorted(-values, -values, side="right")
    # And how many of these are of its class: in each class, images are in the order of `values`.
    by_class = np.argsort(labels, kind="stable")
    starts = np.cumsum(total) - total
    own = np.empty(number, np.int64)
    own[by_class] = np.arange(number) - starts[labels[by_class]] + 1
    # Of equal activations the last counts for all.
    of_class, same = labels[by_class], values[by_class]
    last = np.ones(number, bool)
    last[:-1] = (of_class[1:] != of_class[:-1]) | (same[1:] != same[:-1])
    places = np.flatnonzero(last)
    group = np.searchsorted(places, np.arange(number))
    found = own[by_class][places][group] if number else own
    precision = found / called[by_class]
    with np.errstate(invalid="ignore"):
        average = np.bincount(of_class, precision, minlength=classes) / total
    f1_at = 2 * found / (called[by_class] + total[of_class])
    f1 = np.full(classes, np.nan)
    threshold = np.full(classes, np.nan)
    # The last that is written is the largest; of equal ones the highest threshold.
    rising = np.lexsort((same, f1_at))
    f1[of_class[rising]], threshold[of_class[rising]] = f1_at[rising], same[rising]
    return ClassScores(average, f1, threshold)


def layer_class_scores(
    activations: NDArray[np.floating], labels: NDArray[np.integer], classes: int
) -> ClassScores:
    """`class_scores` of C feature maps, from `[N, C]`: each array is `[C, K]`."""
    each = [class_scores(column, labels, classes) for column in activations.T]
    names = ("average_precision", "f1", "threshold")
    return ClassScores(*(np.stack([getattr(one, name) for one in each]) for name in names))
