"""Scores of a feature map as a detector of classes, against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve

from zf_lightning.analysis.class_selectivity import class_scores, layer_class_scores


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 6), st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_equals_scikit_learn(seed: int, number: int, classes: int, values: int) -> None:
    generator = np.random.default_rng(seed)
    # Few values: with ties.
    activations = generator.integers(0, values, number).astype(np.float32) / 8
    labels = generator.integers(-1, classes, number)
    found = class_scores(activations, labels, classes)
    known = labels >= 0
    for label in range(classes):
        of_class = labels[known] == label
        mine = [getattr(found, name)[label] for name in ("average_precision", "f1", "threshold")]
        if not of_class.any():
            assert np.isnan(mine).all()
            continue
        expected = average_precision_score(of_class, activations[known])
        assert mine[0] == pytest.approx(expected, abs=1e-12)
        precision, recall, _ = precision_recall_curve(of_class, activations[known])
        both = precision[:-1] + recall[:-1]
        f1 = (2 * precision[:-1] * recall[:-1] / np.where(both, both, 1)).max()
        assert mine[1] == pytest.approx(f1, abs=1e-12)
        called = activations[known] >= mine[2]
        hits = (called & of_class).sum()
        assert 2 * hits / (called.sum() + of_class.sum()) == pytest.approx(f1, abs=1e-12)


def test_a_map_that_tells_nothing_has_the_share_of_the_class() -> None:
    labels = np.repeat([0, 1, 2], (50, 30, 20))
    found = class_scores(np.ones(100, np.float32), labels, 3)
    assert found.average_precision == pytest.approx([0.5, 0.3, 0.2])
    # Everything is called of the class.
    assert found.f1 == pytest.approx([1 / 1.5, 0.6 / 1.3, 0.4 / 1.2])


def test_a_map_that_knows_a_class_and_one_without_a_number() -> None:
    labels = np.array([0, 1, 1, 0])
    activations = np.array([[0.0, np.nan], [3.0, np.nan], [2.0, np.nan], [0.5, 1.0]], np.float32)
    found = layer_class_scores(activations, labels, 2)
    assert found.average_precision[0, 1] == found.f1[0, 1] == 1
    assert found.threshold[0, 1] == 2
    assert found.average_precision[1].tolist()[0] == 1
    assert np.isnan(found.average_precision[1, 1])
