"""Classifiers on features of any dimension."""

import numpy
import pytest
from sklearn.svm import LinearSVC

from zf_lightning.analysis.transfer import Coordinates, fit_and_predict, from_features, from_gram
from zf_lightning.analysis.transfer.classifiers import CLASSIFIERS, SupportVectorMachine
from zf_lightning.errors import UserError


def clouds(
    dimensions: int, *, classes: int = 3, each: int = 12, spread: float = 0.6, seed: int = 0
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Points `[N, D]` around one centre a class, and their labels."""
    generator = numpy.random.default_rng(seed)
    centres = numpy.random.default_rng(1).normal(size=(classes, dimensions))
    labels = numpy.repeat(numpy.arange(classes), each)
    noise = generator.normal(size=(len(labels), dimensions))
    return (100.0 + centres[labels] + spread * noise).astype(numpy.float32), labels


def both(dimensions: int, **options: float) -> tuple[Coordinates, numpy.ndarray, numpy.ndarray]:
    train, labels = clouds(dimensions, **options)  # type: ignore[arg-type]
    test, test_labels = clouds(dimensions, seed=5, **options)  # type: ignore[arg-type]
    return from_features(train, test), labels, test_labels


def test_coordinates_from_the_gram_matrix_have_the_features_inner_products() -> None:
    points, _ = clouds(200)
    train, test = numpy.arange(0, 36, 2), numpy.arange(1, 36, 2)
    centred = points - points.mean(0)
    exact = from_features(points[train], points[test])
    found = from_gram(centred @ centred.T, train, test)
    assert found.train.shape == (18, 18)
    for one, other in ((exact.train, found.train), (exact.test, found.test)):
        numpy.testing.assert_allclose(other @ found.train.T, one @ exact.train.T, atol=2e-5 * 18)
    assert numpy.square(exact.train).sum(1).mean() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_both_forms_of_the_features_give_the_same_classifier(classifier: str) -> None:
    points, labels = clouds(100, spread=1.5)
    train, test = numpy.arange(0, 36, 2), numpy.arange(1, 36, 2)
    centred = points - points.mean(0)
    outcomes = [
        fit_and_predict(classifier, form, labels[train], classes=3, strengths=[1.0])
        for form in (
            from_features(points[train], points[test]),
            from_gram(centred @ centred.T, train, test),
        )
    ]
    assert outcomes[0].predictions.tolist() == outcomes[1].predictions.tolist()
    numpy.testing.assert_allclose(outcomes[0].scores, outcomes[1].scores, atol=5e-3)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_a_classifier_learns_what_can_be_learnt(classifier: str) -> None:
    images, labels, expected = both(40)
    outcome = fit_and_predict(classifier, images, labels, classes=3)
    assert (outcome.predictions == expected).mean() > 0.95
    assert outcome.cross_validated
    assert (outcome.scores.argmax(1) == outcome.predictions).mean() > 0.95


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("strength", [0.1, 10.0])
def test_the_svm_is_that_of_liblinear(class_weight: str | None, strength: float) -> None:
    images, labels, _ = both(10, spread=2.0)
    # Of unequal number, and an offset that liblinear does not make small, as it does by itself.
    kept = numpy.arange(6, len(labels))
    train, labels = images.train[kept], labels[kept]
    exact = LinearSVC(
        C=strength, class_weight=class_weight, intercept_scaling=1e3, tol=1e-9, max_iter=10**6
    ).fit(train, labels)
    machine = SupportVectorMachine(C=strength, class_weight=class_weight)
    found = machine.fit(train @ train.T, labels).decision_function(images.test @ train.T)
    numpy.testing.assert_allclose(found, exact.decision_function(images.test), atol=0.02)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_fits_side_by_side_choose_as_one_after_another(classifier: str) -> None:
    images, labels, _ = both(20, spread=4.0)
    one, other = (
        fit_and_predict(classifier, images, labels, classes=3, jobs=jobs) for jobs in (1, 3)
    )
    assert one.strength == other.strength
    numpy.testing.assert_array_equal(one.scores, other.scores)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_cross_validation_chooses_by_the_training_images(classifier: str) -> None:
    # The small second feature tells the classes apart; only large weights can use it.
    generator = numpy.random.default_rng(0)
    labels = numpy.arange(60) % 2
    points = numpy.stack([generator.normal(size=60) * 20, labels - 0.5], axis=1).astype("f4")
    images = from_features(points, points[:10])
    for order in ([1e-6, 1e4], [1e4, 1e-6]):
        outcome = fit_and_predict(classifier, images, labels, classes=2, strengths=order)
        assert outcome.strength == 1e4


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_one_training_image_a_class_is_enough_but_chooses_nothing(classifier: str) -> None:
    images, labels, expected = both(40, each=1)
    outcome = fit_and_predict(classifier, images, labels, classes=3)
    assert not outcome.cross_validated
    assert (outcome.predictions == expected).mean() >= 2 / 3


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_a_class_that_was_not_learnt_comes_last(classifier: str) -> None:
    images, labels, _ = both(20, classes=2)
    outcome = fit_and_predict(classifier, images, labels * 2, classes=4)
    assert outcome.scores.shape == (24, 4)
    assert (outcome.scores[:, [1, 3]] == -numpy.inf).all()
    assert set(outcome.predictions) == {0, 2}


def test_balanced_weights_help_the_rare_class() -> None:
    generator = numpy.random.default_rng(0)
    labels = numpy.array([0] * 95 + [1] * 5)
    points = generator.normal(size=(100, 2)).astype("f4") + labels[:, None]
    images = from_features(points, points)

    def found(class_weight: str | None) -> int:
        outcome = fit_and_predict(
            "softmax", images, labels, classes=2, class_weight=class_weight, strengths=[1.0]
        )
        return int((outcome.predictions == 1).sum())

    assert found("balanced") > found(None)


def test_another_classifier_is_refused() -> None:
    images, labels, _ = both(5)
    with pytest.raises(UserError, match="forest is not one of svm, softmax"):
        fit_and_predict("forest", images, labels, classes=3)


def test_images_that_are_all_the_same_are_classified_somehow() -> None:
    same = numpy.zeros((12, 12), numpy.float32)
    images = from_gram(same, numpy.arange(6), numpy.arange(6, 12))
    for classifier in CLASSIFIERS:
        outcome = fit_and_predict(classifier, images, numpy.array([0, 1] * 3), classes=2)
        assert numpy.isfinite(outcome.scores).all()
