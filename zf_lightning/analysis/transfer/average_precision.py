"""Average precision as PASCAL VOC measures it since 2010 (Table 6).

The area under the curve of precision over recall, after precision is made to fall only: the highest
precision at this recall or any above it. scikit-learn's `average_precision_score` leaves that out
and gives lower figures. Images with the same score count as found together, so that the order of
files decides nothing. (VOC 2007 and before took the mean at eleven recalls.)
"""

import numpy
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

#: A class in a VOC table: not in the image, in it, or there but too hard to be counted.
ABSENT, PRESENT, DIFFICULT = 0, 1, 2


def average_precision(
    present: NDArray[numpy.int64], scores: NDArray[numpy.float64]
) -> float | None:
    """The average precision of one class in percent; None where no image has it.

    Args:
        present: `[N]`, `ABSENT`, `PRESENT` or `DIFFICULT`; images of the last are left out.
        scores: `[N]`, higher where the class is thought to be in the image.
    """
    counted = present != DIFFICULT
    # A class that was not learnt is at -inf: the same score for all images, and the lowest.
    present, scores = present[counted], numpy.nan_to_num(scores[counted])
    if not (present == PRESENT).any():
        return None
    precision, recall, _ = precision_recall_curve(present == PRESENT, scores)
    # From the strictest threshold to the loosest: scikit-learn gives them the other way round.
    precision, recall = precision[::-1], recall[::-1]
    falling = numpy.maximum.accumulate(precision[::-1])[::-1]
    return float(100.0 * numpy.sum(numpy.diff(recall) * falling[1:]))


def average_precisions(
    present: NDArray[numpy.int64], scores: NDArray[numpy.float64]
) -> list[float | None]:
    """The average precision of every class in percent, of `present` and `scores` `[N, classes]`."""
    return [average_precision(present[:, c], scores[:, c]) for c in range(present.shape[1])]
