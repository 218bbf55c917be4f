"""Every classifier at every layer, for every fold (Tables 4 to 7); what is done is not done again.

Axes: N images of the set.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy
from numpy.typing import NDArray

from zf_lightning.analysis.transfer.average_precision import average_precisions
from zf_lightning.analysis.transfer.classifiers import fit_and_predict
from zf_lightning.analysis.transfer.features import FeatureCache, LayerFeatures
from zf_lightning.analysis.transfer.linear import (
    Coordinates,
    Floats,
    from_features,
    from_gram,
    gram_matrix,
)
from zf_lightning.analysis.transfer.protocol import Fold, mean_class_accuracy

#: The largest set whose whole Gram matrix is kept in memory, for all folds; 1.6 GB.
GRAM_IMAGES = 20_000


@dataclass(frozen=True)
class Score:
    """How one classifier did on one fold of one layer."""

    layer: str
    classifier: str
    #: Training images of each class, or None where the set has a split of its own.
    per_class: int | None
    fold: int
    #: Mean over the classes, in percent.
    accuracy: float
    #: In percent for each class; None where no test image has it. Only where several classes can
    #: be in an image.
    average_precisions: list[float | None] | None
    #: The C that cross-validation chose; None for a network that was trained.
    strength: float | None
    cross_validated: bool
    train_images: int
    test_images: int

    @property
    def key(self) -> tuple[str, str, int | None, int]:
        """What was tried."""
        return self.layer, self.classifier, self.per_class, self.fold


class ScoreFile:
    """Scores as lines of JSON, each written when it is there: a run that is killed keeps them.

    Args:
        path: the file.
        experiment: what the scores depend on besides their keys. Scores of another experiment in
            the same file are forgotten.
    """

    def __init__(self, path: Path, *, experiment: str) -> None:
        self.path = path
        self.scores: dict[tuple[str, str, int | None, int], Score] = {}
        lines = path.read_text().splitlines() if path.exists() else []
        if lines and json.loads(lines[0]) == {"experiment": experiment}:
            for line in lines[1:]:
                try:
                    score = Score(**json.loads(line))
                except json.JSONDecodeError:
                    # The line that was being written when the run was killed.
                    continue
                self.scores[score.key] = score
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [json.dumps(asdict(score)) for score in self.scores.values()]
        path.write_text("\n".join([json.dumps({"experiment": experiment}), *kept]) + "\n")

    def add(self, score: Score) -> None:
        """Keep a score."""
        self.scores[score.key] = score
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(score)) + "\n")


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
        scores: where they are kept; those that are there are not computed again.
        class_weight: see `fit_and_predict`.
        present: `[N, classes]`, where several classes can be in an image: their average precisions
            are scored too, and the test images' labels only decide the accuracy.
        seed: of the cross-validations.
        jobs: how many fits of a cross-validation may run side by side.
        progress: is called with every score that was computed.
    """
    found = []
    for layer in layers:
        fitted = _Layer(cache, layer, [fold for several in folds.values() for fold in several])
        for per_class, several in folds.items():
            for number, fold in enumerate(several):
                coordinates: Coordinates | None = None
                for classifier in classifiers:
                    key = (layer, classifier, per_class, number)
                    if key not in scores.scores:
                        if coordinates is None:
                            coordinates = fitted.coordinates(fold)
                        outcome = fit_and_predict(
                            classifier,
                            coordinates,
                            labels[fold.train],
                            classes=classes,
                            class_weight=class_weight,
                            seed=seed,
                            jobs=jobs,
                        )
                        precisions = None
                        if present is not None:
                            precisions = average_precisions(present[fold.test], outcome.scores)
                        score = Score(
                            layer=layer,
                            classifier=classifier,
                            per_class=per_class,
                            fold=number,
                            accuracy=mean_class_accuracy(labels[fold.test], outcome.predictions),
                            average_precisions=precisions,
                            strength=outcome.strength,
                            cross_validated=outcome.cross_validated,
                            train_images=len(fold.train),
                            test_images=len(fold.test),
                        )
                        scores.add(score)
                        progress(score)
                    found.append(scores.scores[key])
    return found


class _Layer:
    """A layer's features as coordinates for one fold after another."""

    def __init__(self, cache: FeatureCache, layer: str, folds: Iterable[Fold]) -> None:
        self._cache = cache
        self._name = layer
        self._features: LayerFeatures | None = None
        self._gram: Floats | None = None
        # The images that any fold needs, and where each of them is among these.
        self._used = numpy.unique(numpy.concatenate([[*f.train, *f.test] for f in folds]))

    def coordinates(self, fold: Fold) -> Coordinates:
        """Training and test images of a fold; the Gram matrix is made when it is first needed."""
        if self._features is None:
            self._features = self._cache.layer(self._name)
        features = self._features
        if features.dimensions <= len(fold.train):
            return from_features(features.read(fold.train), features.read(fold.test))
        if len(self._used) > GRAM_IMAGES:
            images = numpy.concatenate([fold.train, fold.test])
            rows = numpy.arange(len(images))
            ends = len(fold.train)
            return from_gram(gram_matrix(features, images), rows[:ends], rows[ends:])
        if self._gram is None:
            self._gram = gram_matrix(features, self._used)
        return from_gram(
            self._gram,
            numpy.searchsorted(self._used, fold.train),
            numpy.searchsorted(self._used, fold.test),
        )
