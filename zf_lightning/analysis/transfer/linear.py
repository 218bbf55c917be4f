"""Coordinates for linear classifiers on features of any dimension, from their Gram matrix.

A linear SVM and an L2-penalised softmax depend on the inner products of the features alone. So n
coordinates exactly replace D > n features of n training images.

Axes: N images of a set, n training images, m test images, D features.
"""

from dataclasses import dataclass

import numpy
import scipy.linalg
from numpy.typing import NDArray

from zf_lightning.analysis.transfer.features import LayerFeatures

#: Added to the diagonal of the centred Gram matrix, which is singular, as a share of its mean.
JITTER = 1e-5
#: Columns multiplied at a time.
COLUMNS = 2048

Floats = NDArray[numpy.float32]


@dataclass(frozen=True)
class Coordinates:
    """Training and test images as a linear classifier sees them.

    The training images have mean 0 and mean squared length 1, so that the same regularisation suits
    every layer. The test images are shifted and scaled with them.
    """

    #: float32 `[n, r]`.
    train: Floats
    #: float32 `[m, r]`.
    test: Floats


def gram_matrix(features: LayerFeatures, images: NDArray[numpy.int64]) -> Floats:
    """Inner products `[N, N]` of the centred features of `images`.

    Columns are read and multiplied in blocks: memory does not grow with the dimension.
    """
    gram = numpy.zeros((len(images), len(images)), dtype=numpy.float32)
    for start in range(0, features.dimensions, COLUMNS):
        block = features.read(images, slice(start, start + COLUMNS))
        # A common offset would cost precision.
        block -= block.mean(axis=0)
        gram += block @ block.T
    return gram


def from_gram(gram: Floats, train: NDArray[numpy.int64], test: NDArray[numpy.int64]) -> Coordinates:
    """Coordinates with the inner products of rows `train` and `test` of a Gram matrix `[N, N]`."""
    inner = gram[numpy.ix_(train, train)].astype(numpy.float64)
    across = gram[numpy.ix_(test, train)].astype(numpy.float64)
    of_train, of_test = inner.mean(axis=1), across.mean(axis=1)
    centre = of_train.mean()
    inner += centre - of_train[:, None] - of_train
    across += centre - of_test[:, None] - of_train
    scale = inner.trace() / len(train)
    if not scale > 0:
        # The layer does not tell the images apart.
        return Coordinates(numpy.zeros_like(inner, "f4"), numpy.zeros_like(across, "f4"))
    inner[numpy.diag_indices_from(inner)] += JITTER * scale
    lower = scipy.linalg.cholesky(inner, lower=True, overwrite_a=True, check_finite=False)
    solved = scipy.linalg.solve_triangular(lower, across.T, lower=True, check_finite=False)
    root = numpy.sqrt(scale)
    return Coordinates(
        (lower / root).astype(numpy.float32), (solved.T / root).astype(numpy.float32)
    )


def from_features(train: Floats, test: Floats) -> Coordinates:
    """Coordinates of features `[n, D]` and `[m, D]`, for D at most n."""
    centre = train.mean(axis=0)
    train, test = train - centre, test - centre
    scale = numpy.sqrt(numpy.square(train).sum(axis=1).mean())
    scale = scale if scale > 0 else numpy.float32(1.0)
    return Coordinates(train / scale, test / scale)
