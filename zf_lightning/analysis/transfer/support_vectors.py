"""A linear SVM of each class against all others, learnt from inner products alone.

The loss is the square of the hinge, as in liblinear, whose accuracies on Caltech-101 it has; the
plain hinge is up to 4 % worse there with the same C. Solved by scikit-learn's `SVC` (libsvm): with
the square, an SVM is one that allows no error, of inner products with 1 / 2C added on their
diagonal (Cortes and Vapnik, 1995). Liblinear itself goes through all coordinates of all images in
every step, and with as many coordinates as images takes longer (benchmarks/svm.py).

Axes: n training images, m test images, k classes that were learnt.
"""

import numpy
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.svm import SVC
from sklearn.utils import Tags
from sklearn.utils.class_weight import compute_class_weight

#: libsvm's bound on the weight of an image: none is reached.
UNBOUNDED = 1e10
#: How far libsvm's conditions may be missed; ten times finer changes no accuracy by 0.1 %.
TOLERANCE = 1e-2


class SupportVectorMachine(ClassifierMixin, BaseEstimator):
    """One SVM a class on the inner products of the images; the largest distance wins.

    Args:
        C: inverse of the regularisation.
        class_weight: None, or `balanced`: the images of a class count in the inverse ratio of
            their number, where they are learnt against all others.
    """

    def __init__(self, C: float = 1.0, class_weight: str | None = None) -> None:
        self.C = C
        self.class_weight = class_weight

    def __sklearn_tags__(self) -> Tags:
        """Tell a cross-validation that rows and columns are both images."""
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = True
        return tags

    def fit(
        self, inner: NDArray[numpy.floating], labels: NDArray[numpy.int64]
    ) -> "SupportVectorMachine":
        """Learn from inner products `[n, n]` and labels `[n]` of at least two classes."""
        self.classes_ = numpy.unique(labels)
        weights = compute_class_weight(self.class_weight, classes=self.classes_, y=labels)
        # One copy for all classes; libsvm takes float64.
        regularised = numpy.array(inner, dtype=numpy.float64, order="C")
        diagonal = regularised.diagonal().copy()
        self.dual_coef_ = numpy.zeros((len(labels), len(self.classes_)))
        self.intercept_ = numpy.zeros(len(self.classes_))
        for place, (label, weight) in enumerate(zip(self.classes_, weights, strict=True)):
            inside = labels == label
            strengths = numpy.where(inside, self.C * weight, self.C)
            numpy.fill_diagonal(regularised, diagonal + 0.5 / strengths)
            machine = SVC(C=UNBOUNDED, kernel="precomputed", tol=TOLERANCE)
            machine.fit(regularised, inside)
            self.dual_coef_[machine.support_, place] = machine.dual_coef_[0]
            self.intercept_[place] = machine.intercept_[0]
        return self

    def decision_function(self, inner: NDArray[numpy.floating]) -> NDArray[numpy.float64]:
        """Distances to each class's margin, `[m, k]`, from inner products `[m, n]`."""
        distances: NDArray[numpy.float64] = inner @ self.dual_coef_ + self.intercept_
        return distances

    def predict(self, inner: NDArray[numpy.floating]) -> NDArray[numpy.int64]:
        """Labels `[m]`."""
        labels: NDArray[numpy.int64] = self.classes_[self.decision_function(inner).argmax(axis=1)]
        return labels
