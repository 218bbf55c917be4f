"""Labelled files from class folders, and subsets of them drawn from a seed."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy

from zf_lightning.data.sources.base import LabelledFiles, LabelledImages
from zf_lightning.data.sources.scan import image_names

Images = TypeVar("Images", bound=LabelledImages)


def files_of_classes(
    root: Path,
    folder: str,
    classes: Sequence[str],
    *,
    nested: bool = True,
    others: Counter[str] | None = None,
) -> LabelledFiles:
    """All images of the class folders `ROOT/folder/<class>`, labelled by their order in `classes`.

    Names are relative to `root`. A class without a folder has no images.
    """
    names, labels = [], []
    prefix = f"{folder}/" if folder else ""
    for label, name in enumerate(classes):
        found = image_names(root / folder / name, nested=nested, others=others)
        names += [f"{prefix}{name}/{file}" for file in found]
        labels += [label] * len(found)
    return LabelledFiles(root, names, labels)


def limit_per_class(files: Images, per_class: int, *, seed: int) -> Images:
    """So many files of each class, drawn from the seed; all of a class that has fewer."""
    keep: list[int] = []
    for label in numpy.unique(files.labels).tolist():
        members = numpy.flatnonzero(files.labels == label)
        # A stream of its own: splits drawn from the same seed stay as they are.
        order = numpy.random.default_rng([seed, label, 1]).permutation(members)
        keep += sorted(order[:per_class].tolist())
    return files.subset(keep)
