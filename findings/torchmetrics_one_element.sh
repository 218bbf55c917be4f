#!/usr/bin/env bash
# torchmetrics takes the axes off a result of one element, also inside tuples and dataclasses.
#
# Versions: torchmetrics 1.9.0, torch 2.9.1, numpy 2.4.6.
# Guessed:  a metric without reduction gives [N] for N images, and what `compute` returns arrives as
#           it is; a frozen dataclass would be safest.
# So:       N = 1 gives [], while the function of the same name gives [1]. A table [1, 1] inside a
#           NamedTuple or a dataclass arrives as [], at any depth. A frozen dataclass is a ValueError.
# Matters:  values of each image, class or feature map are zipped with names or indexed by [:, 0],
#           which then fails, or takes another axis, for the last batch of one image, the network of
#           one class or the layer of one map. Ask for torch.atleast_1d, or return a plain class.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check \
    torchmetrics==1.9.0 torch==2.9.1 numpy==2.4.6
environment/bin/python - <<'PYTHON'
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torchmetrics
from torchmetrics import Metric
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.image import StructuralSimilarityIndexMeasure

warnings.simplefilter("ignore")
print("torchmetrics", torchmetrics.__version__, "torch", torch.__version__)
shapes = {}
for number in (2, 1):
    one, other = torch.rand(number, 1, 16, 16), torch.rand(number, 1, 16, 16)
    metric = StructuralSimilarityIndexMeasure(data_range=1.0, reduction="none")
    metric.update(one, other)
    function = structural_similarity_index_measure(one, other, data_range=1.0, reduction="none")
    shapes[number] = (tuple(metric.compute().shape), tuple(function.shape))
    print(f"SSIM of {number} images: metric {shapes[number][0]}, function {shapes[number][1]}")
assert shapes == {2: ((2,), (2,)), 1: ((), (1,))}


class Tuple(NamedTuple):
    table: torch.Tensor


@dataclass
class Data:
    table: torch.Tensor


@dataclass(frozen=True)
class Frozen:
    table: torch.Tensor


class Plain:
    def __init__(self, table):
        self.table = table


class Tables(Metric):
    """The table of what it has seen, in a box."""

    def __init__(self, box, rows):
        super().__init__()
        self.box = box
        self.add_state("table", torch.zeros(rows, 1), dist_reduce_fx="sum")

    def update(self, values):
        self.table = self.table + values

    def compute(self):
        return self.box(self.table)


found = {}
for box in (Tuple, Data, Frozen, Plain):
    for rows in (2, 1):
        metric = Tables(box, rows)
        metric.update(torch.ones(rows, 1))
        try:
            said = tuple(metric.compute().table.shape)
        except ValueError as problem:
            said = f"ValueError: {problem}"
        found[box.__name__, rows] = said
        print(f"{box.__name__} of a table [{rows}, 1]: {said}")
for name in ("Tuple", "Data"):
    assert found[name, 2] == (2, 1) and found[name, 1] == ()
assert all(str(found["Frozen", rows]).startswith("ValueError") for rows in (1, 2))
assert found["Plain", 1] == (1, 1)
PYTHON
