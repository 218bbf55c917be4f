"""Linear SVM and softmax, the classifiers that the paper puts on frozen features.

Both are scikit-learn's: libsvm, each class against all others (pairs of classes that vote, as in
`SVC` itself, are several per cent worse on Caltech-101), and `LogisticRegression` (multinomial).
The paper states the regularisation of neither: it is chosen among `STRENGTHS` by cross-validation
on the training images, by the mean accuracy of the classes.

Axes: n training images, m test images, k classes that were learnt.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import joblib
import numpy
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import SVC
from sklearn.utils import Tags
from sklearn.utils.class_weight import compute_class_weight
from threadpoolctl import threadpool_limits

from zf_lightning.analysis.transfer.linear import Coordinates, Floats
from zf_lightning.errors import UserError

#: Choices of C, the inverse of the regularisation, for features of mean squared length 1.
STRENGTHS = {
    "svm": (0.1, 1.0, 10.0),
    "softmax": (1.0, 10.0, 100.0, 1000.0),
}
CLASSIFIERS = tuple(STRENGTHS)
#: Parts of the training images in the cross-validation.
PARTS = 3
#: libsvm's bound on the weight of an image: none is reached.
UNBOUNDED = 1e10
#: Tolerance of libsvm's conditions; ten times finer changes no accuracy by 0.1 %.
TOLERANCE = 1e-2
#: What a fit keeps of every value of its training images: a float32 and a float64.
BYTES_OF_VALUE = 12
#: Memory for all fits that run side by side.
MEMORY = 16e9


class SupportVectorMachine(ClassifierMixin, BaseEstimator):
    """One linear SVM a class, each against all others, learnt from inner products of the images.

    The loss is the square of the hinge, as in liblinear: the plain hinge is up to 4 % worse on
    Caltech-101 with the same C. With the square, an SVM is one that allows no error, of inner
    products with 1 / 2C added on their diagonal (Cortes and Vapnik, 1995), which libsvm solves.
    Liblinear itself takes longer with as many coordinates as images (benchmarks/svm.py).

    Args:
        C: inverse of the regularisation.
        class_weight: None, or `balanced`: images count in the inverse ratio of their class's size.
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
        return numpy.asarray(inner @ self.dual_coef_ + self.intercept_)

    def predict(self, inner: NDArray[numpy.floating]) -> NDArray[numpy.int64]:
        """Labels `[m]`."""
        return numpy.asarray(self.classes_[self.decision_function(inner).argmax(axis=1)])


@dataclass(frozen=True)
class Outcome:
    """Predictions for the test images."""

    #: int64 `[m]`, labels.
    predictions: NDArray[numpy.int64]
    #: float64 `[m, classes]`: probabilities (softmax) or distances to the SVM's margins; a class
    #: without training images is at -inf.
    scores: NDArray[numpy.float64]
    #: The C that was chosen; None for a network that was trained.
    strength: float | None = None
    #: Whether cross-validation chose it; with one training image in a class it cannot.
    cross_validated: bool = False


def fit_and_predict(
    name: str,
    images: Coordinates,
    labels: NDArray[numpy.int64],
    *,
    classes: int,
    class_weight: str | None = None,
    seed: int = 0,
    strengths: Sequence[float] | None = None,
    jobs: int = 1,
) -> Outcome:
    """Learn from the training images, whose labels are `[n]`, and classify the test images.

    Args:
        class_weight: None, or `balanced`: images of smaller classes count more.
        seed: decides the parts of the cross-validation.
        strengths: other choices of C.
        jobs: fits of the cross-validation side by side, each in a thread.

    Raises UserError for another classifier.
    """
    if name not in CLASSIFIERS:
        raise UserError(f"transfer.classifiers: {name} is not one of {', '.join(CLASSIFIERS)}.")
    train, test = images.train, images.test
    model: Any
    if name == "svm":
        model = SupportVectorMachine(class_weight=class_weight)
        train, test = train @ train.T, test @ train.T
    else:
        model = LogisticRegression(class_weight=class_weight, max_iter=500)
    choices = list(STRENGTHS[name] if strengths is None else strengths)
    parts = min(PARTS, int(numpy.bincount(labels)[numpy.unique(labels)].min()))
    cross_validated = parts > 1 and len(choices) > 1
    with warnings.catch_warnings():
        # What is still improving after so many steps improves no prediction.
        warnings.simplefilter("ignore", ConvergenceWarning)
        if cross_validated:
            strength = _cross_validate(model, train, labels, choices, parts, seed=seed, jobs=jobs)
        else:
            # The middle one, the larger of two.
            strength = choices[len(choices) // 2]
        model.set_params(C=strength).fit(train, labels)
    found = model.decision_function(test) if name == "svm" else model.predict_proba(test)
    scores = numpy.full((len(test), classes), -numpy.inf)
    scores[:, model.classes_] = found
    predictions = model.predict(test).astype(numpy.int64)
    return Outcome(predictions, scores, float(strength), cross_validated)


def _cross_validate(
    model: Any,
    train: Floats,
    labels: NDArray[numpy.int64],
    choices: Sequence[float],
    parts: int,
    *,
    seed: int,
    jobs: int,
) -> float:
    """The strength with the best mean accuracy of the classes."""
    search = GridSearchCV(
        model,
        {"C": choices},
        cv=StratifiedKFold(parts, shuffle=True, random_state=seed),
        scoring="balanced_accuracy",
        refit=False,
    )
    # Whole fits side by side gain more than the threads of each one's matrix products.
    side_by_side = max(1, min(jobs, int(MEMORY / (BYTES_OF_VALUE * train.size))))
    with threadpool_limits(1), joblib.parallel_config("threading", n_jobs=side_by_side):
        search.fit(train, labels)
    return float(search.best_params_["C"])
