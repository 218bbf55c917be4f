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

#: Entries of a VOC table: the class is absent, present, or present but too difficult to count.
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

    The order of a class depends on (seed, fold, class name) alone; its first images are trained on,
    its last are tested on. So a fold of 15 training images is part of that of 30, with the same
    test images if the class is large enough, and no class depends on another.
    Raises UserError if a class is too small to leave a test image.
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
    """Mean accuracy of the classes in `labels`, in percent; both arguments are `[N]`.

    Every class counts the same, whatever the number of its test images.
    """
    return 100.0 * float(
        recall_score(labels, predictions, labels=numpy.unique(labels), average="macro")
    )


def average_precision(
    present: NDArray[numpy.int64], scores: NDArray[numpy.float64]
) -> float | None:
    """VOC's average precision of one class in percent; None if no image has the class.

    The area under the precision-recall curve, each precision replaced by the highest at its recall
    or above; scikit-learn's `average_precision_score` does not do that and is lower. Images with
    the same score are retrieved together. (Until 2007 VOC took the mean at eleven recalls.)

    Args:
        present: `[N]`, `ABSENT`, `PRESENT` or `DIFFICULT`; difficult images are left out.
        scores: `[N]`, higher for a more likely class.
    """
    counted = present != DIFFICULT
    # A class without training images has -inf for all images: the same, lowest score.
    present, scores = present[counted] == PRESENT, numpy.nan_to_num(scores[counted])
    if not present.any():
        return None
    precision, recall, _ = precision_recall_curve(present, scores)
    # Recall falls from the loosest threshold to the strictest.
    falling = numpy.maximum.accumulate(precision)
    return float(-100.0 * numpy.sum(numpy.diff(recall) * falling[:-1]))


def average_precisions(
    present: NDArray[numpy.int64], scores: NDArray[numpy.float64]
) -> list[float | None]:
    """Average precisions of all classes in percent; the arguments are `[N, classes]`."""
    return [average_precision(*columns) for columns in zip(present.T, scores.T, strict=True)]
