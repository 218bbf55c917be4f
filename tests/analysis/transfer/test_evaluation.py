"""All classifiers at all layers, and resuming."""

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor

from zf_lightning.analysis.transfer import (
    FeatureCache,
    Score,
    ScoreFile,
    classifiers,
    draw_folds,
    evaluation,
)

GENERATOR = numpy.random.default_rng(0)
LABELS = numpy.repeat(numpy.arange(4), 20)
NAMES = ("a", "b", "c", "d")
#: The classes show in the second layer and not in the first, which is of many dimensions.
NOISE = GENERATOR.normal(size=(80, 300)).astype("f4")
CLEAR = (numpy.eye(4)[LABELS] + GENERATOR.normal(size=(80, 4)) * 0.1).astype("f4")


@pytest.fixture(autouse=True)
def _one_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cross-validation, which is tested elsewhere: it takes most of the time."""
    monkeypatch.setattr(classifiers, "STRENGTHS", {"svm": (10.0,), "softmax": (10.0,)})


def read(indices: Tensor) -> dict[str, Tensor]:
    return {"noise": torch.from_numpy(NOISE[indices]), "clear": torch.from_numpy(CLEAR[indices])}


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    cache = FeatureCache(tmp_path / "cache", images=80)
    filling = cache.filling(["noise", "clear"])
    for part in torch.arange(80).split(16):
        filling.add(read(part))
    return cache


def run(cache: FeatureCache, path: Path, **options: Any) -> tuple[list[Score], list[Score]]:
    computed: list[Score] = []
    folds = {n: draw_folds(LABELS, NAMES, per_class=n, folds=2) for n in (3, 8)}
    scores = evaluation.evaluate(
        cache,
        ["noise", "clear"],
        LABELS,
        folds,
        ScoreFile(path, experiment=options.pop("experiment", "one")),
        classes=4,
        classifiers=["svm", "softmax"],
        progress=computed.append,
        **options,
    )
    return scores, computed


def test_every_combination_is_scored_and_the_layer_that_knows_wins(
    cache: FeatureCache, tmp_path: Path
) -> None:
    scores, computed = run(cache, tmp_path / "scores.jsonl")
    assert scores == computed and len({score.key for score in scores}) == 2 * 2 * 2 * 2
    for score in scores:
        assert score.train_images == 4 * (score.per_class or 0)
        assert score.accuracy > 95 if score.layer == "clear" else score.accuracy < 60


def test_what_is_done_is_not_done_again(cache: FeatureCache, tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    first, _ = run(cache, path)
    lines = path.read_text().splitlines()
    # Killed while it wrote the last line.
    path.write_text("\n".join([*lines[:-3], lines[-3][:20]]))
    again, computed = run(cache, path)
    assert again == first
    assert [score.key for score in computed] == [score.key for score in first[-3:]]


def test_scores_of_another_experiment_are_not_used_and_stay(
    cache: FeatureCache, tmp_path: Path
) -> None:
    path = tmp_path / "scores.jsonl"
    first, _ = run(cache, path)
    file, before = path.stat().st_ino, path.read_text()
    _, other = run(cache, path, experiment="another")
    assert len(other) == len(first)
    # Hours of work are never rewritten, and are found again.
    assert path.stat().st_ino == file and path.read_text().startswith(before)
    again, computed = run(cache, path)
    assert again == first and not computed


def test_a_set_too_large_for_one_gram_matrix_gives_the_same(
    cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = run(cache, tmp_path / "whole.jsonl")
    monkeypatch.setattr(evaluation, "GRAM_IMAGES", 10)
    parts, _ = run(cache, tmp_path / "parts.jsonl")
    assert [score.accuracy for score in parts] == [score.accuracy for score in whole]


def test_average_precisions_come_with_several_classes_an_image(
    cache: FeatureCache, tmp_path: Path
) -> None:
    present = numpy.eye(4, dtype=numpy.int64)[LABELS]
    scores, _ = run(cache, tmp_path / "scores.jsonl", present=present)
    for score in scores:
        assert score.average_precisions is not None
        if score.layer == "clear":
            assert min(value for value in score.average_precisions if value is not None) > 95
