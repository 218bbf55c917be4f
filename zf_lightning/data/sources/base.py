"""What every source of labelled images offers."""

import hashlib
import os
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self, runtime_checkable

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from zf_lightning.data.decode import STORED_SIZE, load_image
from zf_lightning.data.pixel_statistics import PixelStatistics
from zf_lightning.data.sources.file_names import FileNames
from zf_lightning.errors import UnreadableImage

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class ImageSource(Protocol):
    """A labelled set of images in three splits."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Position in this tuple is the label."""

    def prepare(self) -> None:
        """Make the data ready to be read; safe to call again and from several processes."""

    def split(self, name: Split) -> "LabelledImages":
        """The samples of one split."""


@dataclass(frozen=True)
class SampleKey:
    """Which sample to load, and its weight in the batch (see `Batch.weights`)."""

    index: int
    weight: float = 1.0


class LabelledImages(Dataset[tuple[Tensor, int, int, float]]):
    """Images with a label and a name each; a sample is decoded when it is asked for.

    Names and labels are arrays, so that workers share them: see `FileNames`.
    """

    #: Where each sample comes from.
    names: FileNames
    #: int64 `[N]`.
    labels: numpy.ndarray
    #: Mean image and spread of these samples, where they need not be computed.
    known_statistics: PixelStatistics | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: SampleKey | int) -> tuple[Tensor, int, int, float]:
        """Image uint8 `[3, 256, 256]`, label, index in this split, weight."""
        raise NotImplementedError

    def path(self, index: int) -> Path:
        """What a person finds the sample by."""
        return Path(self.names[index])

    def subset(self, indices: Sequence[int] | numpy.ndarray) -> Self:
        """Some of the samples, in the order of `indices`."""
        raise NotImplementedError

    def sample_key(self, index: int) -> bytes:
        """Changes when the sample does."""
        raise NotImplementedError

    def content_key(self) -> str:
        """A digest of all samples: changes when they do."""
        digest = hashlib.sha256()
        for index in range(len(self)):
            digest.update(self.sample_key(index))
        return digest.hexdigest()


@runtime_checkable
class StoredInOrder(Protocol):
    """Samples that are read fastest in orders of their own: neighbours lie in one file."""

    def training_order(self, generator: numpy.random.Generator) -> NDArray[numpy.int64]:
        """A permutation of the indices, shuffled by `generator`."""

    def evaluation_order(self) -> NDArray[numpy.int64]:
        """A permutation of the indices, always the same."""

    def order_key(self) -> int:
        """A number, not 0, that changes when the same generator would give another order."""

    def expect(self, coming: NDArray[numpy.int64]) -> None:
        """Told again and again which samples will be asked for next, in which order."""


class LabelledFiles(LabelledImages):
    """Image files, whose names are paths relative to `root`, with a label each."""

    def __init__(
        self, root: Path, names: Sequence[str], labels: Sequence[int] | numpy.ndarray
    ) -> None:
        """`names` are paths relative to `root`; `labels` has one class number for each."""
        assert len(names) == len(labels)
        self.root = root
        self.names = names if isinstance(names, FileNames) else FileNames(names)
        self.labels = numpy.asarray(labels, dtype=numpy.int64)

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

    def sample_key(self, index: int) -> bytes:
        """Name, label and size of the file."""
        name = self.names.encoded(index)
        try:
            size = os.stat(os.path.join(os.fsencode(self.root), name)).st_size
        except OSError:
            # Broken links are met when they are read.
            size = -1
        return b"%b\0%d\0%d\n" % (name, self.labels[index], size)
