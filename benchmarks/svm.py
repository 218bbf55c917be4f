"""The SVM of `task=transfer` against liblinear on the same features (over all C twice as fast).

    python benchmarks/svm.py [--classes 101] [--each 30] [--dimensions 9216] [--repetitions 3]

Features are generated: rectified sums of a class's pattern, patterns shared by all classes, and
noise, more dimensions than images, as everywhere in Table 7 at full depth. Both sides learn one
class against all others with the square of the hinge and the same C, single fits in turn, on one
thread: ours from inner products, liblinear (`LinearSVC`, as in scikit-learn) from as many
coordinates as there are images, which is less than it would need for the features themselves.
Printed are the processor seconds of a fit and the accuracies.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import numpy
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from zf_lightning.analysis.transfer import Coordinates, from_gram
from zf_lightning.analysis.transfer.classifiers import SupportVectorMachine

STRENGTHS = (0.1, 1.0, 10.0)
#: Test images of each class.
TESTED = 10

Labels = NDArray[numpy.int64]


def generate(classes: int, each: int, dimensions: int) -> tuple[Coordinates, Labels, Labels]:
    """Coordinates of training and test images, and their labels."""
    generator = numpy.random.default_rng(0)
    patterns = generator.normal(size=(classes, dimensions)).astype("f4")
    shared = generator.normal(size=(50, dimensions)).astype("f4")
    labels = numpy.repeat(numpy.arange(classes), each + TESTED)
    strengths = generator.normal(size=(len(labels), len(shared))).astype("f4")
    noise = generator.normal(size=(len(labels), dimensions)).astype("f4")
    features = numpy.maximum(0.2 * patterns[labels] + 0.3 * strengths @ shared + noise, 0)
    features -= features.mean(axis=0)
    place = numpy.arange(len(labels)) % (each + TESTED)
    train, test = numpy.flatnonzero(place < each), numpy.flatnonzero(place >= each)
    return from_gram(features @ features.T, train, test), labels[train], labels[test]


def with_inner_products(images: Coordinates, labels: Labels, strength: float) -> Labels:
    """What the SVM of `task=transfer` says of the test images."""
    machine = SupportVectorMachine(C=strength).fit(images.train @ images.train.T, labels)
    return machine.predict(images.test @ images.train.T)


def with_coordinates(images: Coordinates, labels: Labels, strength: float) -> Labels:
    """What liblinear says of them."""
    model = LinearSVC(C=strength, dual=True, tol=0.05, random_state=0)
    found: Labels = model.fit(images.train, labels).predict(images.test)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", type=int, default=101)
    parser.add_argument("--each", type=int, default=30)
    parser.add_argument("--dimensions", type=int, default=9216)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    images, labels, expected = generate(options.classes, options.each, options.dimensions)
    sides: dict[str, Callable[[Coordinates, Labels, float], Labels]] = {
        "ours": with_inner_products,
        "liblinear": with_coordinates,
    }
    print(f"{len(labels):,} training images of {options.classes} classes")
    warnings.simplefilter("ignore", ConvergenceWarning)
    total = dict.fromkeys(sides, 0.0)
    with threadpool_limits(1):
        for strength in STRENGTHS:
            seconds: dict[str, list[float]] = {name: [] for name in sides}
            accuracy = {}
            for _ in range(options.repetitions):
                for name, side in sides.items():
                    began = time.process_time()
                    found = side(images, labels, strength)
                    seconds[name].append(time.process_time() - began)
                    accuracy[name] = 100.0 * (found == expected).mean()
            for name in sides:
                total[name] += statistics.median(seconds[name])
            ratios = [b / a for a, b in zip(seconds["ours"], seconds["liblinear"], strict=True)]
            print(
                f"C={strength:g}: "
                + ", ".join(
                    f"{name} {statistics.median(seconds[name]):.1f} s, {accuracy[name]:.1f} %"
                    for name in sides
                )
                + f"; liblinear takes {statistics.median(ratios):.1f} times as long "
                f"({min(ratios):.1f} to {max(ratios):.1f})",
                flush=True,
            )
    print(f"all C: liblinear takes {total['liblinear'] / total['ours']:.1f} times as long")


if __name__ == "__main__":
    main()
