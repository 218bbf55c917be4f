"""A fixed part of a split."""

from pathlib import Path

import torch

from zf_lightning.data.sources.base import LabelledFiles, SampleKey
from zf_lightning.data.subset import FixedSubset


def test_it_is_the_same_part_each_time_and_spread_over_the_split(image_folder: Path) -> None:
    names = [str(path.relative_to(image_folder)) for path in sorted(image_folder.rglob("*.png"))]
    files = LabelledFiles(image_folder, names, [n // 20 for n in range(60)])
    part, again = FixedSubset(files, 30), FixedSubset(files, 30)
    assert part.positions == again.positions == sorted(set(part.positions))
    assert len(part) == 30
    assert {files.labels[position] for position in part.positions} == {0, 1, 2}
    image, label, index, weight = part[SampleKey(7, 0.5)]
    assert index == part.positions[7] and label == files.labels[index] and weight == 0.5
    assert torch.equal(image, files[index][0])
    assert len(FixedSubset(files, 100)) == 60
