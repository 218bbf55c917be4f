"""Scores of every classifier at every layer and fold (Tables 4 to 7), saved one by one.

Axes: N images of the set.
"""

import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy
from numpy.typing import NDArray

from zf_lightning.analysis.transfer.classifiers import Outcome, fit_and_predict
from zf_lightning.analysis.transfer.features import FeatureCache, LayerFeatures
from zf_lightning.analysis.transfer.linear import (
    Coordinates,
    Floats,
    from_features,
    from_gram,
    gram_matrix,
)
from zf_lightning.analysis.transfer.protocol import Fold, average_precisions, mean_class_accuracy
from zf_lightning.errors import DamagedFile
from zf_lightning.system.sealed import sealed_text, unsealed

#: Largest set whose Gram matrix is kept in memory for all folds: 1.6 GB.
GRAM_IMAGES = 20_000


@dataclass(frozen=True)
class Score:
    """The score of one classifier on one fold of one layer."""

    layer: str
    classifier: str
    #: Training images of each class; None where the set has its own split.
    per_class: int | None
    fold: int
    #: Mean over the classes, in percent.
    accuracy: float
    #: In percent for each class, None for one without a test image; only for sets with several
    #: classes in an image.
    average_precisions: list[float | None] | None
    #: The chosen C; None for a trained network.
    strength: float | None
    cross_validated: bool
    train_images: int
    test_images: int

    @classmethod
    def of(
        cls,
        key: tuple[str, str, int | None, int],
        fold: Fold,
        labels: NDArray[numpy.int64],
        outcome: Outcome,
        *,
        present: NDArray[numpy.int64] | None,
    ) -> "Score":
        """The score of predictions for the test images of a fold; see `evaluate`."""
        return cls(
            *key,
            accuracy=mean_class_accuracy(labels[fold.test], outcome.predictions),
            average_precisions=None
            if present is None
            else average_precisions(present[fold.test], outcome.scores),
            strength=outcome.strength,
            cross_validated=outcome.cross_validated,
            train_images=len(fold.train),
            test_images=len(fold.test),
        )

    @property
    def key(self) -> tuple[str, str, int | None, int]:
        """Identifies the score."""
        return self.layer, self.classifier, self.per_class, self.fold


class ScoreFile:
    """Scores as lines of JSON, each appended as soon as it is known; the file is never rewritten.

    Args:
        path: of the file, in which a line names the experiment of the scores below it.
        experiment: all that scores depend on besides their keys; those of others are ignored.
    """

    def __init__(self, path: Path, *, experiment: str) -> None:
        self.path = path
        self.scores: dict[tuple[str, str, int | None, int], Score] = {}
        text = path.read_text() if path.exists() else ""
        current = None
        for line in text.splitlines():
            try:
                values = unsealed(line, path=path)
            except DamagedFile:
                # A damaged line, or one cut off by a kill, is scored again.
                continue
            if "experiment" in values:
                current = values["experiment"]
            elif current == experiment:
                score = Score(**values)
                self.scores[score.key] = score
        if text and not text.endswith("\n"):
            self._append("")
        if current != experiment:
            self._append(sealed_text({"experiment": experiment}))

    def add(self, score: Score) -> None:
        """Keep a score."""
        self.scores[score.key] = score
        self._append(sealed_text(asdict(score)))

    def _append(self, line: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())


def evaluate(
    cache: FeatureCache,
    layers: Sequence[str],
    labels: NDArray[numpy.int64],
    folds: Mapping[int | None, Sequence[Fold]],
    scores: ScoreFile,
    *,
    classes: int,
    classifiers: Sequence[str],
    class_weight: str | None = None,
    present: NDArray[numpy.int64] | None = None,
    seed: int = 0,
    jobs: int = 1,
    progress: Callable[[Score], None] = lambda _: None,
) -> list[Score]:
    """The scores of every layer, classifier, number of training images and fold.

    Args:
        cache: complete for `layers`.
        labels: `[N]`.
        folds: by the number of training images a class.
        scores: the file; scores that it has are not computed again.
        class_weight: see `fit_and_predict`, as for `seed` and `jobs`.
        present: `[N, classes]` for images with several classes: average precisions are scored too;
            the labels of the test images then only decide the accuracy.
        progress: called with every newly computed score.
    """
    found = []
    for layer in layers:
        fitted = _Layer(cache, layer, [fold for several in folds.values() for fold in several])
        for per_class, number, fold, classifier in (
            (per_class, number, fold, classifier)
            for per_class, several in folds.items()
            for number, fold in enumerate(several)
            for classifier in classifiers
        ):
            key = (layer, classifier, per_class, number)
            if key not in scores.scores:
                outcome = fit_and_predict(
                    classifier,
                    fitted.coordinates(fold),
                    labels[fold.train],
                    classes=classes,
                    class_weight=class_weight,
                    seed=seed,
                    jobs=jobs,
                )
                score = Score.of(key, fold, labels, outcome, present=present)
                scores.add(score)
                progress(score)
            found.append(scores.scores[key])
    return found


class _Layer:
    """A layer's features as coordinates for one fold after another."""

    def __init__(self, cache: FeatureCache, layer: str, folds: Iterable[Fold]) -> None:
        self._cache, self._name = cache, layer
        # All images that some fold needs, ascending.
        self._used = numpy.unique(numpy.concatenate([[*f.train, *f.test] for f in folds]))
        self._last: tuple[Fold, Coordinates] | None = None

    @functools.cached_property
    def _features(self) -> LayerFeatures:
        return self._cache.layer(self._name)

    @functools.cached_property
    def _gram(self) -> Floats:
        return gram_matrix(self._features, self._used)

    def coordinates(self, fold: Fold) -> Coordinates:
        """Training and test images of a fold; the last fold's are cached."""
        if self._last is None or self._last[0] is not fold:
            self._last = None  # Frees its memory before the next is allocated.
            self._last = (fold, self._coordinates(fold))
        return self._last[1]

    def _coordinates(self, fold: Fold) -> Coordinates:
        features = self._features
        if features.dimensions <= len(fold.train):
            return from_features(features.read(fold.train), features.read(fold.test))
        if len(self._used) <= GRAM_IMAGES:
            train, test = (numpy.searchsorted(self._used, part) for part in (fold.train, fold.test))
            return from_gram(self._gram, train, test)
        gram = gram_matrix(features, numpy.concatenate([fold.train, fold.test]))
        rows, number = numpy.arange(len(gram)), len(fold.train)
        return from_gram(gram, rows[:number], rows[number:])
