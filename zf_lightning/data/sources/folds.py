"""All splits of a source as one set, and a fold of that set as a source to train on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
from numpy.typing import NDArray

from zf_lightning.data.sources.base import ImageSource, LabelledFiles, Split, SplitSource
from zf_lightning.data.sources.without import files_by_split
from zf_lightning.errors import UserError
from zf_lightning.system.sealed import read_json


@dataclass(frozen=True)
class WholeSet:
    """Every file of a source once, in the order of the names, whatever split it is in."""

    files: LabelledFiles
    #: Positions of the splits' files in `files`, int64.
    members: dict[Split, NDArray[numpy.int64]]
    #: `[N, classes]` 0/1/2, absent, present or difficult, where several classes are in an image.
    presence: NDArray[numpy.int64] | None


def whole_set(source: ImageSource) -> WholeSet:
    """The files of all splits of a source together.

    Raises UserError if its images are not files.
    """
    splits = files_by_split(source, needed_by="This task")
    labels: dict[str, int] = {}
    tables: dict[str, NDArray[numpy.int8]] = {}
    for files in splits.values():
        labels.update(zip(files.names, files.labels.tolist(), strict=True))
        presence = getattr(files, "presence", None)
        if presence is not None:
            tables.update(zip(files.names, presence, strict=True))
    names = sorted(labels)
    position = {name: number for number, name in enumerate(names)}
    return WholeSet(
        LabelledFiles(splits["train"].root, names, [labels[name] for name in names]),
        {
            split: numpy.array([position[name] for name in files.names], dtype=numpy.int64)
            for split, files in splits.items()
        },
        numpy.stack([tables[name] for name in names]).astype(numpy.int64) if tables else None,
    )


class FoldSource(SplitSource[LabelledFiles]):
    """One fold of the transfer protocol, to train a network on from scratch.

    The training images are validated on as well: a fold has no others to spare, and the test
    images must decide nothing.

    Args:
        source: all the images.
        folds: the file that `task=transfer` wrote: `files`, and for each number of training images
            a list of folds with positions in it.
        per_class: number of training images of each class, as the file has it.
        fold: from 0 on.

    Raises:
        UserError: the file belongs to other images.
    """

    def __init__(
        self, source: ImageSource, *, folds: str | Path, per_class: str, fold: int
    ) -> None:
        super().__init__()
        self._source = source
        self._path = Path(folds)
        self._per_class = per_class
        self._fold = fold

    def _read(self) -> tuple[Sequence[str], dict[Split, LabelledFiles]]:
        self._source.prepare()
        files = whole_set(self._source).files
        position = {name: number for number, name in enumerate(files.names)}
        stored = read_json(self._path)
        parts = {}
        for part, chosen in stored["folds"][self._per_class][self._fold].items():
            names = [stored["files"][number] for number in chosen]
            lost = [name for name in names if name not in position]
            if lost:
                raise UserError(f"{self._path} names {lost[0]}, which the data does not have.")
            parts[part] = files.subset([position[name] for name in names])
        self.layout = f"fold {self._fold} of {self._path.name}"
        return self._source.class_names, {
            "train": parts["train"],
            "val": parts["train"],
            "test": parts["test"],
        }
