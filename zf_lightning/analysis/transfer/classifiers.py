"""Linear SVM and softmax: the paper's classifiers on frozen features.

Both are scikit-learn's: libsvm, one class against the rest (the pairwise voting of `SVC` itself is
several per cent worse on Caltech-101), and multinomial `LogisticRegression`. The paper gives no
regularisation: it is chosen from `STRENGTHS` by cross-validation on the training images, by the
mean class accuracy.

Axes: n training images, m test images, k classes among the training images.
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

#: Choices of C, the inverse regularisation, for features of mean squared length 1.
STRENGTHS = {
    "svm": (0.1, 1.0, 10.0),
    "softmax": (1.0, 10.0, 100.0, 1000.0),
}
CLASSIFIERS = tuple(STRENGTHS)
#: Folds of the cross-validation.
PARTS = 3
#: libsvm's bound on the weight of an image, never reached.
UNBOUNDED = 1e10
#: libsvm's tolerance; ten times finer changes no accuracy by 0.1 %.
TOLERANCE = 1e-2
#: Memory of a fit for each value of its training images: a float32 and a float64.
BYTES_OF_VALUE = 12
#: Memory for all parallel fits, in bytes.
MEMORY = 16e9


class SupportVectorMachine(ClassifierMixin, BaseEstimator):
    """Linear one-against-the-rest SVMs, learnt from the inner products of the images.

    The loss is the squared hinge, as in liblinear: the plain hinge is up to 4 % worse on
    Caltech-101 with the same C. A squared-hinge SVM equals a hard-margin SVM whose inner products
    have 1 / 2C added on the diagonal (Cortes and Vapnik, 1995), which libsvm solves. Liblinear
    itself is slower with as many coordinates as images (benchmarks/svm.py).

    Args:
        C: inverse regularisation.
        class_weight: None, or `balanced`: weights images by the inverse size of their class.
    """

    def __init__(self, C: float = 1.0, class_weight: str | None = None) -> None:
        self.C = C
        self.class_weight = class_weight

    def __sklearn_tags__(self) -> Tags:
        """Let cross-validation split rows and columns alike: both are images."""
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = True
        return tags

    def fit(
        self, inner: NDArray[numpy.floating], labels: NDArray[numpy.int64]
    ) -> "SupportVectorMachine":
        """Learn from inner products `[n, n]` and labels `[n]` of at least two classes."""
        self.classes_ = numpy.unique(labels)
        weights = compute_class_weight(self.class_weight, classes=self.classes_, y=labels)
        # One copy for all classes; libsvm needs float64.
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
    #: float64 `[m, classes]`: probabilities (softmax) or decision values (SVM); -inf for a class
    #: without training images.
    scores: NDArray[numpy.float64]
    #: The chosen C; None for a trained network.
    strength: float | None = None
    #: Whether cross-validation chose it, which a class with one training image prevents.
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
    """Fit on the training images with labels `[n]`, and classify the test images.

    Args:
        class_weight: None, or `balanced`: images of smaller classes count more.
        seed: decides the folds of the cross-validation.
        strengths: choices of C, instead of `STRENGTHS`.
        jobs: parallel fits of the cross-validation, each in a thread.

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
        # Further iterations change no prediction.
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
    """The C with the best mean class accuracy."""
    search = GridSearchCV(
        model,
        {"C": choices},
        cv=StratifiedKFold(parts, shuffle=True, random_state=seed),
        scoring="balanced_accuracy",
        refit=False,
    )
    # Parallel fits gain more than the threads of each fit's matrix products.
    side_by_side = max(1, min(jobs, int(MEMORY / (BYTES_OF_VALUE * train.size))))
    with threadpool_limits(1), joblib.parallel_config("threading", n_jobs=side_by_side):
        search.fit(train, labels)
    return float(search.best_params_["C"])
