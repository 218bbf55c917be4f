"""The two classifiers that the paper puts on frozen features: a linear SVM and a softmax.

Both are scikit-learn's: `LinearSVC` (liblinear, each class against all others) and
`LogisticRegression` (multinomial). On Caltech-101 pairs of classes that vote, as in `SVC`, are
several per cent worse. The paper states the regularisation of neither: it is chosen among
`STRENGTHS` by cross-validation inside the training images, by the mean accuracy of the classes.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import LinearSVC

from zf_lightning.analysis.transfer.linear import Coordinates, Floats
from zf_lightning.errors import UserError

#: Choices of C, the inverse of the regularisation, for features of mean squared length 1.
STRENGTHS = {
    "svm": (0.1, 1.0, 10.0),
    "softmax": (1.0, 10.0, 100.0),
}
CLASSIFIERS = tuple(STRENGTHS)
#: Parts of the training images in the cross-validation.
PARTS = 3


@dataclass(frozen=True)
class Outcome:
    """What a classifier says of the test images."""

    #: int64 `[m]`, labels.
    predictions: NDArray[numpy.int64]
    #: float64 `[m, classes]`: probabilities (softmax) or distances to the SVM's margins.
    #: Higher is more certain; a class without training images is at -inf.
    scores: NDArray[numpy.float64]
    #: The C that was chosen.
    strength: float
    #: Whether cross-validation chose it; with one training image in a class it cannot.
    cross_validated: bool


def fit_and_predict(
    name: str,
    images: Coordinates,
    labels: NDArray[numpy.int64],
    *,
    classes: int,
    class_weight: str | None = None,
    seed: int = 0,
    strengths: Sequence[float] | None = None,
) -> Outcome:
    """Learn from the training images, whose labels are `[n]`, and classify the test images.

    Args:
        class_weight: None, or `balanced`: classes with fewer training images count more each.
        seed: decides the parts of the cross-validation.
        strengths: other choices of C.

    Raises:
        UserError: no such classifier.
    """
    if name == "svm":
        # A finer tolerance, liblinear's own is 0.1, changes no accuracy by more than 0.1 %.
        model: Any = LinearSVC(class_weight=class_weight, dual=True, tol=0.05, random_state=seed)
    elif name == "softmax":
        model = LogisticRegression(class_weight=class_weight, max_iter=500)
    else:
        raise UserError(f"transfer.classifiers: {name} is not one of {', '.join(CLASSIFIERS)}.")
    choices = list(STRENGTHS[name] if strengths is None else strengths)
    parts = min(PARTS, int(numpy.bincount(labels)[numpy.unique(labels)].min()))
    cross_validated = parts > 1 and len(choices) > 1
    with warnings.catch_warnings():
        # What is still improving after so many steps improves no prediction.
        warnings.simplefilter("ignore", ConvergenceWarning)
        if cross_validated:
            search = GridSearchCV(
                model,
                {"C": choices},
                cv=StratifiedKFold(parts, shuffle=True, random_state=seed),
                scoring="balanced_accuracy",
            )
            model = search.fit(images.train, labels).best_estimator_
        else:
            # The middle one, the larger of two.
            model.set_params(C=choices[len(choices) // 2]).fit(images.train, labels)
    return Outcome(
        predictions=model.predict(images.test).astype(numpy.int64),
        scores=_scores(model, images.test, classes),
        strength=float(model.C),
        cross_validated=cross_validated,
    )


def _scores(model: Any, test: Floats, classes: int) -> NDArray[numpy.float64]:
    """One column for every class, also for those that were not learnt."""
    if isinstance(model, LinearSVC):
        found = model.decision_function(test)
        if found.ndim == 1:
            found = numpy.stack([-found, found], axis=1)
    else:
        found = model.predict_proba(test)
    scores = numpy.full((len(test), classes), -numpy.inf)
    scores[:, model.classes_] = found
    return scores
