"""What every source of labelled images offers."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from zf_lightning.data.decode import load_image

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
    """Image files with a label each; a sample is decoded when it is asked for."""

    def __init__(self, root: Path, names: list[str], labels: list[int]) -> None:
        """`names` are paths relative to `root`; `labels` has one class number for each."""
        self.root = root
        self.names = names
        self.labels = labels

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: SampleKey | int) -> tuple[Tensor, int, int, float]:
        """Image uint8 `[3, 256, 256]`, label, index in this split, weight."""
        if not isinstance(key, SampleKey):
            key = SampleKey(key)
        image = load_image(self.root / self.names[key.index])
        return image, self.labels[key.index], key.index, key.weight

    def label_counts(self, classes: int) -> Tensor:
        """Number of samples of each class, int64 `[classes]`."""
        return torch.bincount(torch.tensor(self.labels, dtype=torch.int64), minlength=classes)

    def content_key(self) -> str:
        """A digest of file names, labels and sizes: changes when the files do."""
        digest = hashlib.sha256()
        for name, label in zip(self.names, self.labels, strict=True):
            digest.update(f"{name}\0{label}\0{(self.root / name).stat().st_size}\n".encode())
        return digest.hexdigest()
