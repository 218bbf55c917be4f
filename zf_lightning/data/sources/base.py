"""Labelled images in three splits: what a source offers, and what its samples are."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, Protocol, Self, TypeVar, overload, runtime_checkable

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from zf_lightning.data.decode import STORED_SIZE, load_image
from zf_lightning.data.pixel_statistics import PixelStatistics
from zf_lightning.errors import UnreadableImage
from zf_lightning.system.digests import digest_of

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
#: Indices of samples.
Indices = Sequence[int] | NDArray[numpy.int64]
#: Image uint8 `[3, 256, 256]`, label, index in the split, weight in the batch (`Batch.weights`).
Sample = tuple[Tensor, int, int, float]


@dataclass(frozen=True)
class SampleKey:
    """Which sample to load, and its weight in the batch (see `Batch.weights`)."""

    index: int
    weight: float = 1.0


class FileNames(Sequence[str]):
    """A sequence of names, kept as one array of bytes.

    A list of the 1.3 million names of ImageNet is as many objects, whose reference counts a worker
    process touches, so that each worker comes to have a copy of them all. Names are bytes to the
    file system: those that are not UTF-8 come out as `os.fsdecode` has them.
    """

    def __init__(self, names: Iterable[str]) -> None:
        encoded = [os.fsencode(name) for name in names]
        self._ends = numpy.cumsum([len(name) for name in encoded], dtype=numpy.int64)
        self._bytes = numpy.frombuffer(b"".join(encoded), dtype=numpy.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        return os.fsdecode(self.encoded(index))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FileNames):
            return NotImplemented
        return numpy.array_equal(self._ends, other._ends) and numpy.array_equal(
            self._bytes, other._bytes
        )

    def encoded(self, index: int) -> bytes:
        """The name as the file system has it."""
        number = range(len(self))[index]
        start = self._ends[number - 1] if number else 0
        return self._bytes[start : self._ends[number]].tobytes()


class LabelledImages(Dataset[Sample]):
    """Images with a label and a name each; a sample is decoded when it is asked for.

    Names and labels are arrays, so that workers share them.
    """

    #: Where each sample comes from.
    names: FileNames
    #: int64 `[N]`.
    labels: numpy.ndarray
    #: Mean image and spread of these samples, where they need not be computed.
    known_statistics: PixelStatistics | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: SampleKey | int) -> Sample:
        """Decode a sample."""
        raise NotImplementedError

    def path(self, index: int) -> Path:
        """The name of a sample as a path, for messages."""
        return Path(self.names[index])

    def subset(self, indices: Indices) -> Self:
        """Some of the samples, in the order of `indices`."""
        raise NotImplementedError

    def sample_key(self, index: int) -> bytes:
        """Changes when the sample does."""
        raise NotImplementedError

    def content_key(self) -> str:
        """A digest of all samples: changes when they do."""
        return digest_of(map(self.sample_key, range(len(self))))


class LabelledFiles(LabelledImages):
    """Image files, whose names are paths relative to `root`, with a class number each."""

    def __init__(self, root: Path, names: Sequence[str], labels: Indices) -> None:
        assert len(names) == len(labels)
        self.root = root
        self.names = names if isinstance(names, FileNames) else FileNames(names)
        self.labels = numpy.asarray(labels, dtype=numpy.int64)

    def __getitem__(self, key: SampleKey | int) -> Sample:
        """Decode a file.

        If it cannot be read, a plain index raises UnreadableImage, and a SampleKey gives a black
        picture of weight NaN, which `zf_lightning.data.bad_files` takes up.
        """
        if not isinstance(key, SampleKey):
            return load_image(self.path(key)), int(self.labels[key]), int(key), 1.0
        label, weight = int(self.labels[key.index]), key.weight
        try:
            image = load_image(self.path(key.index))
        except UnreadableImage:
            image = torch.zeros(3, STORED_SIZE, STORED_SIZE, dtype=torch.uint8)
            # A sample that only fills up a batch is counted where it is not a repetition.
            weight = float("nan") if weight else 0.0
        return image, label, key.index, weight

    def path(self, index: int) -> Path:
        """The file of a sample."""
        return self.root / self.names[index]

    def subset(self, indices: Indices) -> Self:
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


class ImageSource(Protocol):
    """A labelled set of images in three splits; any class with these three members is one."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names for people; the position in this tuple is the label."""

    def prepare(self) -> None:
        """Make the data ready to be read; safe to call again and from several processes."""

    def split(self, name: Split) -> LabelledImages:
        """The samples of one split."""


Images = TypeVar("Images", bound=LabelledImages)


class SplitSource(Generic[Images]):
    """A source that is read once, when it is first asked for something.

    Args:
        train_per_class: use only so many training images of each class; all of a smaller class.
        seed: decides which.
    """

    def __init__(self, *, train_per_class: int | None = None, seed: int = 0) -> None:
        self.train_per_class = train_per_class
        self.seed = seed
        #: How the splits were found, in a few words.
        self.layout = ""
        #: Numbers of what was left out, by the reason.
        self.ignored: Counter[str] = Counter()
        self._class_names: tuple[str, ...] = ()
        self._splits: dict[Split, Images] = {}

    def _read(self) -> tuple[Sequence[str], Mapping[Split, Images]]:
        """Class names and splits; without a test split the validation images are tested on.

        Raises UserError where the data are not as expected.
        """
        raise NotImplementedError

    def prepare(self) -> None:
        """Read the data, unless that is done; raises UserError where they are not as expected."""
        if not self._splits:
            class_names, found = self._read()
            splits = {"test": found["val"], **found}
            if self.train_per_class is not None:
                whole = len(splits["train"])
                splits["train"] = self._limited(splits["train"], self.train_per_class)
                if left_out := whole - len(splits["train"]):
                    self.ignored["training images (data.train_per_class)"] = left_out
            self._class_names, self._splits = tuple(class_names), splits

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names for people, in the order of the labels."""
        self.prepare()
        return self._class_names

    def split(self, name: Split) -> Images:
        """The samples of a split."""
        self.prepare()
        return self._splits[name]

    def _limited(self, images: Images, per_class: int) -> Images:
        keep: list[int] = []
        for label in numpy.unique(images.labels).tolist():
            members = numpy.flatnonzero(images.labels == label)
            # A stream of its own: splits drawn from the same seed stay as they are.
            order = numpy.random.default_rng([self.seed, label, 1]).permutation(members)
            keep += sorted(order[:per_class].tolist())
        return images.subset(keep)
