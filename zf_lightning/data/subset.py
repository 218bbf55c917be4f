"""A fixed part of a split, for an evaluation that does not need all of it."""

import numpy
from torch import Tensor
from torch.utils.data import Dataset

from zf_lightning.data.sources.base import LabelledImages, SampleKey


class FixedSubset(Dataset[tuple[Tensor, int, int, float]]):
    """At most `size` samples of a split: always the same, whatever the run's seed."""

    def __init__(self, files: LabelledImages, size: int) -> None:
        self.files = files
        # Drawn over the whole split, since files lie class by class.
        order = numpy.random.default_rng(0).permutation(len(files))
        self.positions: list[int] = numpy.sort(order[:size]).tolist()

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, key: SampleKey) -> tuple[Tensor, int, int, float]:
        """Image uint8 `[3, 256, 256]`, label, index in the whole split, weight."""
        return self.files[SampleKey(self.positions[key.index], key.weight)]
