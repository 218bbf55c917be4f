"""What every source of labelled images offers."""

import hashlib
import os
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self

import numpy
import torch
from torch import Tensor
from torch.utils.data import Dataset

from zf_lightning.data.decode import STORED_SIZE, load_image
from zf_lightning.data.sources.file_names import FileNames
from zf_lightning.errors import UnreadableImage

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class ImageSource(Protocol):
    """A labelled set of images in three splits."""

    #: Position in this tuple is the label.
    class_names: tuple[str, ...]

    def prepare(self) -> None:
        """Make the data ready to be read; safe to call again and from several processes."""

    def split(self, name: Split) -> "LabelledFiles":
        """The samples of one split."""


@dataclass(frozen=True)
class SampleKey:
    """Which sample to load, and its weight in the batch (see `Batch.weights`)."""

    index: int
    weight: float = 1.0


class LabelledFiles(Dataset[tuple[Tensor, int, int, float]]):
    """Image files with a label each; a sample is decoded when it is asked for.

    Names and labels are arrays, so that workers share them: see `FileNames`.
    """

    #: Paths relative to `root`.
    names: FileNames
    #: int64 `[N]`.
    labels: numpy.ndarray

    def __init__(
        self, root: Path, names: Sequence[str], labels: Sequence[int] | numpy.ndarray
    ) -> None:
        """`names` are paths relative to `root`; `labels` has one class number for each."""
        assert len(names) == len(labels)
        self.root = root
        self.names = names if isinstance(names, FileNames) else FileNames(names)
        self.labels = numpy.asarray(labels, dtype=numpy.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: SampleKey | int) -> tuple[Tensor, int, int, float]:
        """Image uint8 `[3, 256, 256]`, label, index in this split, weight.

        A file that cannot be read raises UnreadableImage for a plain index. For a SampleKey it is
        a black picture whose weight is NaN: `zf_lightning.data.bad_files` takes it up.
        """
        if not isinstance(key, SampleKey):
            return load_image(self.path(key)), int(self.labels[key]), int(key), 1.0
        label, weight = int(self.labels[key.index]), key.weight
        try:
            image = load_image(self.path(key.index))
        except UnreadableImage:
            image = torch.zeros(3, STORED_SIZE, STORED_SIZE, dtype=torch.uint8)
            # What only fills up a batch is counted where it is not a repetition.
            weight = float("nan") if weight else 0.0
        return image, label, key.index, weight

    def path(self, index: int) -> Path:
        """The file of a sample."""
        return self.root / self.names[index]

    def subset(self, indices: Sequence[int] | numpy.ndarray) -> Self:
        """Some of the files, in the order of `indices`."""
        chosen = copy(self)
        chosen.names = FileNames(self.names[i] for i in indices)
        chosen.labels = self.labels[numpy.asarray(indices, dtype=numpy.int64)]
        return chosen

    def content_key(self) -> str:
        """A digest of file names, labels and sizes: changes when the files do."""
        digest = hashlib.sha256()
        root = os.fsencode(self.root)
        for index, label in enumerate(self.labels):
            name = self.names.encoded(index)
            try:
                size = os.stat(os.path.join(root, name)).st_size
            except OSError:
                # Broken links are met when they are read.
                size = -1
            digest.update(b"%b\0%d\0%d\n" % (name, label, size))
        return digest.hexdigest()
