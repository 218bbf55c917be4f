"""Which images a classifier learns from and is tested on, and how it is scored (Sec. 5.2).

The protocol of Fei-Fei et al. (Caltech-101) and of Griffin et al. (Caltech-256): N training images
of each class, tests on up to 50 others, the mean of the accuracies of the classes; over several
folds, the mean and the standard deviation.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from zf_lightning.errors import UserError


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

    A function of the arguments alone. A class's images are put into an order by (seed, fold, class
    name); the first are trained on and the last are tested on. So the folds of 15 training images
    are part of those of 30, and both are tested on the same images where a class has enough; and
    another class, left out or added, changes nothing for this one.

    Raises UserError where a class has too few images to leave one for the test.
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
            members = numpy.flatnonzero(labels == label)
            generator = numpy.random.default_rng([seed, fold, zlib.crc32(name.encode())])
            order = generator.permutation(members)
            train.append(order[:per_class])
            test.append(order[max(per_class, len(order) - test_per_class) :])
        found.append(Fold(_ascending(train), _ascending(test)))
    return found


def mean_class_accuracy(labels: NDArray[numpy.int64], predictions: NDArray[numpy.int64]) -> float:
    """Mean over the classes in `labels` of the share of each that is predicted right, in percent.

    Both are `[N]`. A class counts the same however many images of it are tested.
    """
    right = numpy.bincount(labels, weights=labels == predictions)
    counts = numpy.bincount(labels)
    return float(100.0 * (right[counts > 0] / counts[counts > 0]).mean())


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and standard deviation of single folds (n - 1); None where there is one fold.

    The paper does not say what its ± is; papers of its time give this one.
    """
    spread = float(numpy.std(values, ddof=1)) if len(values) > 1 else None
    return float(numpy.mean(values)), spread


def _ascending(parts: Sequence[NDArray[numpy.int64]]) -> NDArray[numpy.int64]:
    return numpy.sort(numpy.concatenate(parts)).astype(numpy.int64)
