#!/usr/bin/env bash
# SSIM says the opposite of two projections, by whether zero is shown as 0 or as grey.
#
# Versions: scikit-image 0.26.0, numpy 2.4.6.
# Guessed:  implementations of SSIM put comparisons of projections into the same order. They do, nearly;
#           that an offset and a factor turn the order round was seen on the way, data_range given.
# So:       a pattern and its own negative are more alike than two independent patterns as signed values
#           (0.53 and 0.41), and less alike as pictures (0.23 and 0.50). An empty picture is more like a
#           pattern than an independent pattern is, either way.
# Matters:  sanity checks of saliency maps (Adebayo et al. 2018) report SSIM. Say on which values;
#           compare with an empty picture and with another unit's, not with 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check scikit-image==0.26.0 numpy==2.4.6
environment/bin/python - <<'PYTHON'
import numpy
import skimage
from skimage.metrics import structural_similarity

print("scikit-image", skimage.__version__, "numpy", numpy.__version__)
rows, columns = numpy.mgrid[:64, :64]


def pattern(seed):
    random = numpy.random.default_rng(seed)
    values = numpy.zeros((64, 64))
    for _ in range(40):
        row, column = random.integers(8, 56, 2)
        blob = numpy.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 4)
        turn = (columns - column) * random.normal() + (rows - row) * random.normal()
        values += random.normal() * blob * numpy.cos(turn)
    return values / abs(values).max()


def as_values(one, other):
    return structural_similarity(one, other, data_range=2)


def as_picture(one, other):
    return structural_similarity(127.5 + 127.5 * one, 127.5 + 127.5 * other, data_range=255)


means, reversed_order, empty_first = {}, 0, 0
for seed in range(20):
    one, other = pattern(2 * seed), pattern(2 * seed + 1)
    for name, second in (("negative", -one), ("independent", other), ("empty", 0 * one)):
        for kind in (as_values, as_picture):
            means.setdefault((name, kind.__name__), []).append(kind(one, second))
    last = {key: scores[-1] for key, scores in means.items()}
    reversed_order += (
        last["negative", "as_values"] > last["independent", "as_values"]
        and last["negative", "as_picture"] < last["independent", "as_picture"]
    )
    empty_first += all(
        last["empty", kind] > last["independent", kind] for kind in ("as_values", "as_picture")
    )
for (name, kind), scores in means.items():
    print(f"{name:12} {kind:10} mean SSIM of 20 pairs {numpy.mean(scores):.3f}")
print(f"order of negative and independent reversed in {reversed_order} of 20 pairs")
print(f"empty more alike than independent, both ways, in {empty_first} of 20 pairs")
assert reversed_order >= 18 and empty_first >= 18
PYTHON
