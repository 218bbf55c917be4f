"""Average precision against the computation that VOC's devkit describes."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zf_lightning.analysis.transfer import average_precision, average_precisions


def by_the_book(present: list[bool], scores: list[float]) -> float:
    """Image after image from the highest score; precision at each recall the best from there on."""
    ranked = [p for _, p in sorted(zip(scores, present, strict=True), key=lambda pair: -pair[0])]
    precisions = [sum(ranked[: n + 1]) / (n + 1) for n in range(len(ranked))]
    gains = [max(precisions[n:]) for n, hit in enumerate(ranked) if hit]
    return 100.0 * sum(gains) / sum(ranked)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=30).filter(any), st.integers(0, 99))
def test_it_is_the_area_under_the_falling_precision(present: list[bool], seed: int) -> None:
    scores = numpy.random.default_rng(seed).permutation(len(present)).astype(float)
    found = average_precision(numpy.array(present, int), scores)
    assert found == pytest.approx(by_the_book(present, scores.tolist()))


def test_known_values() -> None:
    # Hits at ranks 1 and 3 of 4: (1 + 2/3) / 2.
    assert average_precision(
        numpy.array([1, 0, 1, 0]), numpy.array([0.9, 0.8, 0.7, 0.1])
    ) == pytest.approx(100 * (1 + 2 / 3) / 2)
    # A hit at rank 2 and one at rank 3: precision 1/2, then 2/3, which counts for both.
    assert average_precision(numpy.array([0, 1, 1]), numpy.array([0.9, 0.8, 0.7])) == pytest.approx(
        200 / 3
    )


def test_difficult_images_and_the_order_of_equal_scores_do_not_count() -> None:
    present, scores = numpy.array([1, 2, 0, 1]), numpy.array([0.9, 0.95, 0.5, 0.2])
    kept = present != 2
    assert average_precision(present, scores) == average_precision(present[kept], scores[kept])
    equal = numpy.zeros(4)
    assert average_precision(numpy.array([1, 0, 0, 0]), equal) == pytest.approx(25.0)
    assert average_precision(numpy.array([0, 0, 0, 1]), equal) == pytest.approx(25.0)


def test_a_class_in_no_image_has_none() -> None:
    table = numpy.array([[1, 0], [0, 2]])
    assert average_precisions(table, numpy.array([[0.9, 0.1], [0.2, 0.3]])) == [100.0, None]


def test_a_class_that_was_not_learnt_is_found_by_chance() -> None:
    table = numpy.array([[1, 0], [0, 1], [0, 0], [1, 0]])
    scores = numpy.array(
        [[0.9, -numpy.inf], [0.2, -numpy.inf], [0.1, -numpy.inf], [0.8, -numpy.inf]]
    )
    assert average_precisions(table, scores) == [100.0, 25.0]
