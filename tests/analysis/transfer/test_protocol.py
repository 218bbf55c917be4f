"""Folds and scores of the transfer protocol."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zf_lightning.analysis.transfer import draw_folds, mean_class_accuracy
from zf_lightning.errors import UserError

COUNTS = st.lists(st.integers(4, 90), min_size=2, max_size=6)


def labelled(counts: list[int], seed: int = 0) -> tuple[numpy.ndarray, list[str]]:
    labels = numpy.repeat(numpy.arange(len(counts)), counts)
    numpy.random.default_rng(seed).shuffle(labels)
    return labels, [f"class {number}" for number in range(len(counts))]


@settings(max_examples=30, deadline=None)
@given(COUNTS, st.integers(1, 3), st.integers(0, 5))
def test_a_fold_has_n_training_images_a_class_and_tests_on_up_to_50_others(
    counts: list[int], per_class: int, seed: int
) -> None:
    labels, names = labelled(counts, seed)
    for fold in draw_folds(labels, names, per_class=per_class, folds=3, seed=seed):
        assert not set(fold.train) & set(fold.test)
        assert (numpy.bincount(labels[fold.train]) == per_class).all()
        expected = [min(50, count - per_class) for count in counts]
        assert numpy.bincount(labels[fold.test]).tolist() == expected


def test_folds_are_a_function_of_the_seed_and_differ() -> None:
    labels, names = labelled([60, 40])

    def draw(seed: int) -> list[tuple[bytes, bytes]]:
        folds = draw_folds(labels, names, per_class=10, folds=3, seed=seed)
        return [(fold.train.tobytes(), fold.test.tobytes()) for fold in folds]

    assert draw(1) == draw(1)
    assert len({*draw(1), *draw(2)}) == 6


def test_fewer_training_images_are_part_of_more_and_the_test_is_the_same() -> None:
    labels, names = labelled([100, 85])
    few, many = (draw_folds(labels, names, per_class=n, folds=2) for n in (15, 30))
    for one, other in zip(few, many, strict=True):
        assert set(one.train) < set(other.train)
        assert one.test.tolist() == other.test.tolist()


def test_another_class_changes_nothing_for_the_others() -> None:
    labels, names = labelled([20, 20, 20])
    (whole,) = draw_folds(labels, names, per_class=5, folds=1)
    kept = numpy.flatnonzero(labels != 1)
    without = numpy.where(labels[kept] == 2, 1, 0)
    (part,) = draw_folds(without, [names[0], names[2]], per_class=5, folds=1)
    assert kept[part.train].tolist() == [i for i in whole.train if labels[i] != 1]


def test_a_class_that_is_too_small_is_named() -> None:
    labels, names = labelled([30, 31, 12])
    with pytest.raises(UserError, match=r"2 of 3 classes: class 2 \(12\), class 0 \(30\)"):
        draw_folds(labels, names, per_class=30, folds=1)
    with pytest.raises(UserError, match="at least 1"):
        draw_folds(labels, names, per_class=0, folds=1)


def test_every_class_counts_the_same() -> None:
    labels = numpy.array([0, 0, 0, 0, 3])
    # 3 of 4 and 0 of 1; classes 1 and 2 are not tested.
    assert mean_class_accuracy(labels, numpy.array([0, 0, 0, 1, 0])) == pytest.approx(37.5)
