"""Folds and scores of the transfer experiments (Sec. 5.2).

Caltech-101 (Fei-Fei et al.) and Caltech-256 (Griffin et al.): N training images of each class,
tests on up to 50 others, the mean of the accuracies of the classes; over several folds, the mean
and the standard deviation. PASCAL VOC (since 2010): average precision.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, recall_score

from zf_lightning.errors import UserError

#: A class in a VOC table: not in the image, in it, or there but too hard to be counted.
ABSENT, PRESENT, DIFFICULT = 0, 1, 2


@dataclass(frozen=True)
class Fold:
    """Positions, int64 and ascending, of the training and the test images in the whole set."""

    train: NDArray[numpy.int64]
    test: NDArray[numpy.int64]


def draw_folds(
    labels: Sequence[int] | NDArray[numpy.int64],
    class_names: Sequence[str],
    *,
    per_class: int,
    folds: int,
    test_per_class: int = 50,
    seed: int = 0,
) -> list[Fold]:
    """Folds of `per_class` training images and at most `test_per_class` test images a class.

    Each class is ordered by (seed, fold, class name) alone; its first images are trained on, its
    last are tested on. So the folds of 15 training images are part of those of 30, both have the
    same test images where a class is large enough, and no class depends on another.
    Raises UserError where a class is too small to leave a test image.
    """
    if per_class < 1 or folds < 1 or test_per_class < 1:
        raise UserError(
            "transfer.per_class, transfer.folds and transfer.test_per_class must be at least 1."
        )
    labels = numpy.asarray(labels)
    counts = numpy.bincount(labels, minlength=len(class_names))
    if counts.min() <= per_class:
        small = numpy.argsort(counts, kind="stable")[: (counts <= per_class).sum()]
        shown = ", ".join(f"{class_names[label]} ({counts[label]})" for label in small[:5])
        raise UserError(
            f"transfer.per_class={per_class} leaves no test image in {len(small)} of "
            f"{len(class_names)} classes: {shown}{', …' if len(small) > 5 else ''}; choose fewer, "
            "or leave these classes out with data.exclude."
        )
    found = []
    for fold in range(folds):
        train, test = [], []
        for label, name in enumerate(class_names):
            generator = numpy.random.default_rng([seed, fold, zlib.crc32(name.encode())])
            order = generator.permutation(numpy.flatnonzero(labels == label))
            train += order[:per_class].tolist()
            test += order[max(per_class, len(order) - test_per_class) :].tolist()
        found.append(Fold(*(numpy.sort(numpy.array(p, numpy.int64)) for p in (train, test))))
    return found


def mean_class_accuracy(labels: NDArray[numpy.int64], predictions: NDArray[numpy.int64]) -> float:
    """Mean over the classes in `labels` of the share of each that is predicted right, in percent.

    Both are `[N]`. A class counts the same however many of its images are tested.
    """
    return 100.0 * float(
        recall_score(labels, predictions, labels=numpy.unique(labels), average="macro")
    )


def average_precision(
    present: NDArray[numpy.int64], scores: NDArray[numpy.float64]
) -> float | None:
    """The average precision of one class in percent, as VOC computes it; None if no image has it.

    The area under the curve of precision over recall, where each precision is replaced by the
    highest at its recall or above: scikit-learn's `average_precision_score` leaves that out and is
    lower. Images with the same score count as retrieved together. (VOC 2007 and before took the
    mean at eleven recalls.)

    Args:
        present: `[N]`, `ABSENT`, `PRESENT` or `DIFFICULT`; images of the last are left out.
        scores: `[N]`, higher where the class is more likely in the image.
    """
    counted = present != DIFFICULT
    # A class that was not learnt is at -inf: the same score for all images, and the lowest.
    present, scores = present[counted] == PRESENT, numpy.nan_to_num(scores[counted])
    if not present.any():
        return None
    precision, recall, _ = precision_recall_curve(present, scores)
    # From the loosest threshold to the strictest: recall falls.
    falling = numpy.maximum.accumulate(precision)
    return float(-100.0 * numpy.sum(numpy.diff(recall) * falling[:-1]))


def average_precisions(
    present: NDArray[numpy.int64], scores: NDArray[numpy.float64]
) -> list[float | None]:
    """The average precision of every class in percent, of `present` and `scores` `[N, classes]`."""
    return [average_precision(*columns) for columns in zip(present.T, scores.T, strict=True)]
