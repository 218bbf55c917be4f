"""The two classifiers that the paper puts on frozen features: a linear SVM and a softmax.

Both are scikit-learn's: libsvm, each class against all others (`support_vectors.py`), and
`LogisticRegression` (multinomial). On Caltech-101 pairs of classes that vote, as in `SVC` itself,
are several per cent worse. The paper states the regularisation of neither: it is chosen among
`STRENGTHS` by cross-validation inside the training images, by the mean accuracy of the classes.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import joblib
import numpy
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from threadpoolctl import threadpool_limits

from zf_lightning.analysis.transfer.linear import Coordinates, Floats
from zf_lightning.analysis.transfer.support_vectors import SupportVectorMachine
from zf_lightning.errors import UserError

#: Choices of C, the inverse of the regularisation, for features of mean squared length 1.
STRENGTHS = {
    "svm": (0.1, 1.0, 10.0),
    "softmax": (1.0, 10.0, 100.0, 1000.0),
}
CLASSIFIERS = tuple(STRENGTHS)
#: Parts of the training images in the cross-validation.
PARTS = 3
#: What a fit keeps of every value of its training images: a float32 and a float64.
BYTES_OF_VALUE = 12
#: Memory for all fits that run side by side.
MEMORY = 16e9


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
    jobs: int = 1,
) -> Outcome:
    """Learn from the training images, whose labels are `[n]`, and classify the test images.

    Args:
        class_weight: None, or `balanced`: classes with fewer training images count more each.
        seed: decides the parts of the cross-validation.
        strengths: other choices of C.
        jobs: fits of the cross-validation that may run side by side, each in a thread.

    Raises:
        UserError: no such classifier.
    """
    if name not in CLASSIFIERS:
        raise UserError(f"transfer.classifiers: {name} is not one of {', '.join(CLASSIFIERS)}.")
    train, test = images.train, images.test
    model: SupportVectorMachine | LogisticRegression
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
    return Outcome(
        predictions=model.predict(test).astype(numpy.int64),
        scores=_scores(model, test, classes),
        strength=float(strength),
        cross_validated=cross_validated,
    )


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


def _scores(model: Any, test: Floats, classes: int) -> NDArray[numpy.float64]:
    """One column for every class, also for those that were not learnt."""
    if isinstance(model, SupportVectorMachine):
        found = model.decision_function(test)
    else:
        found = model.predict_proba(test)
    scores = numpy.full((len(test), classes), -numpy.inf)
    scores[:, model.classes_] = found
    return scores
