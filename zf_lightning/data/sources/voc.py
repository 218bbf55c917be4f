"""PASCAL VOC for classification: several classes an image, one of them chosen where one is needed.

The paper trains a 20-way softmax with one exclusive label an image and does not say which. Here it
is the class of the object whose box is largest, those that are marked difficult last: what most of
the picture shows. Scores are average precisions over all images, for which each split has the table
`presence`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree

import numpy
from torchvision.datasets import VOCDetection

from zf_lightning.data.sources.base import SPLITS, Indices, LabelledFiles, Split, SplitSource
from zf_lightning.data.sources.torchvision_folders import download
from zf_lightning.errors import UserError
from zf_lightning.system.files import below

CLASSES = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike "
    "person pottedplant sheep sofa train tvmonitor"
).split()
#: Values of `MultiLabelFiles.presence`. Images where a class is difficult count neither way.
ABSENT, PRESENT, DIFFICULT = 0, 1, 2


class MultiLabelFiles(LabelledFiles):
    """Image files that show several classes; `labels` has one of them for each."""

    #: int8 `[N, classes]`: ABSENT, PRESENT or DIFFICULT.
    presence: numpy.ndarray

    def __init__(
        self, root: Path, names: Sequence[str], labels: Indices, presence: numpy.ndarray
    ) -> None:
        super().__init__(root, names, labels)
        self.presence = numpy.asarray(presence, dtype=numpy.int8)
        assert len(self.presence) == len(self)

    def subset(self, indices: Indices) -> Self:
        """Some of the files, in the order of `indices`, and their rows of the table."""
        chosen = super().subset(indices)
        chosen.presence = self.presence[numpy.asarray(indices, dtype=numpy.int64)]
        return chosen


class VocSource(SplitSource[MultiLabelFiles]):
    """PASCAL VOC as its archives unpack: `VOCdevkit/VOC2012/{JPEGImages,Annotations,ImageSets}`.

    Args:
        root: where `VOCdevkit` is or is downloaded to, or one of the folders below it.
        year: of the challenge.
        image_sets: VOC's set (train, val, trainval, test) for each split. Where there is no list of
            a test set, or it has no annotations (those of 2012 are not public), the validation
            images are tested on.
        download: let torchvision download what is not on the disk.
        train_per_class, seed: as for `SplitSource`, by the exclusive label.

    Raises:
        UserError: it is not there, or a set is not complete.
    """

    class_ids = class_names = tuple(CLASSES)

    def __init__(
        self,
        root: str | Path,
        *,
        year: int,
        image_sets: Mapping[Split, str],
        download: bool = False,
        train_per_class: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(train_per_class=train_per_class, seed=seed)
        self.root = Path(root).expanduser()
        self.year = year
        self.image_sets = dict(image_sets)
        self.download = download

    def _read(self) -> tuple[Sequence[str], dict[Split, MultiLabelFiles]]:
        folder = self._find()
        if folder is None and self.download:
            self._download()
            folder = self._find()
        if folder is None:
            raise UserError(
                f"There is no PASCAL VOC {self.year} in {self.root} (VOCdevkit/VOC{self.year} with "
                "JPEGImages, Annotations and ImageSets); data.download=true downloads it."
            )
        splits = {
            split: _read_set(folder, self.image_sets[split])
            for split in SPLITS
            if split != "test" or _is_annotated(folder, self.image_sets["test"])
        }
        return CLASSES, splits

    def _find(self) -> Path | None:
        name = f"VOC{self.year}"
        for folder in (self.root / "VOCdevkit" / name, self.root / name, self.root):
            if (folder / "JPEGImages").is_dir():
                return folder
        return None

    def _download(self) -> None:
        # Of 2007 the test set is public, and an archive of its own.
        for image_set in ("trainval", "test") if self.year == 2007 else ("trainval",):
            fetch = partial(VOCDetection, year=str(self.year), image_set=image_set, download=True)
            download(f"PASCAL VOC {self.year} {image_set}", self.root, fetch)


def _read_set(folder: Path, image_set: str) -> MultiLabelFiles:
    path = _list_of(folder, image_set)
    if not path.is_file():
        raise UserError(f"{path} is missing: there is no image set {image_set}.")
    names = _listed(path)
    if not names:
        raise UserError(f"{path} lists no images.")
    presence = numpy.zeros((len(names), len(CLASSES)), dtype=numpy.int8)
    labels = [_read_annotation(folder, name, presence[i]) for i, name in enumerate(names)]
    return MultiLabelFiles(folder, [f"JPEGImages/{name}.jpg" for name in names], labels, presence)


def _is_annotated(folder: Path, image_set: str) -> bool:
    path = _list_of(folder, image_set)
    names = _listed(path) if path.is_file() else []
    return bool(names) and _annotation_of(folder, names[0]).is_file()


def _list_of(folder: Path, image_set: str) -> Path:
    return folder / "ImageSets" / "Main" / f"{image_set}.txt"


def _listed(path: Path) -> list[str]:
    # Lists of one class have a second column.
    names = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
    for name in names:
        below(path.parents[2] / "JPEGImages", name, listed_in=path)
    return names


def _annotation_of(folder: Path, name: str) -> Path:
    return folder / "Annotations" / f"{name}.xml"


def _read_annotation(folder: Path, name: str, presence: numpy.ndarray) -> int:
    """Fill the row of an image, and return the class of its largest object."""
    path = _annotation_of(folder, name)
    try:
        objects = ElementTree.parse(path).getroot().findall("object")
        found = [_read_object(each) for each in objects]
    except (OSError, ElementTree.ParseError, AttributeError, TypeError, ValueError) as problem:
        raise UserError(f"{path} is not an annotation of PASCAL VOC ({problem}).") from problem
    if not found:
        raise UserError(f"{path} names no object, so that {name} has no label.")
    for label, difficult, _ in found:
        if not difficult:
            presence[label] = PRESENT
        elif presence[label] == ABSENT:
            presence[label] = DIFFICULT
    # Of equal boxes the first.
    return max(found, key=lambda each: (not each[1], each[2]))[0]


def _read_object(node: Any) -> tuple[int, bool, float]:
    """Class, whether it is difficult, and the area of its box in pixels."""
    box = node.find("bndbox")
    left, top, right, bottom = (
        float(box.findtext(side)) for side in ("xmin", "ymin", "xmax", "ymax")
    )
    difficult = (node.findtext("difficult") or "0").strip() == "1"
    return CLASSES.index(node.findtext("name").strip()), difficult, (right - left) * (bottom - top)
