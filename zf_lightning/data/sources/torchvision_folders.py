"""Datasets of class folders that torchvision downloads: Imagenette, Caltech-101, Caltech-256."""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from torchvision import datasets

from zf_lightning.data.sources.base import LabelledFiles, Split
from zf_lightning.data.sources.folder import FolderSource
from zf_lightning.data.sources.imagenet_labels import shown_names
from zf_lightning.data.sources.scan import folder_names, image_names
from zf_lightning.errors import UserError, reason_of

log = logging.getLogger(__name__)


def _without_numbers(folders: Sequence[str]) -> Sequence[str]:
    """`ak47` of `001.ak47`."""
    names = tuple(re.sub(r"^\d{3}\.", "", folder) for folder in folders)
    return names if len(set(names)) == len(names) else folders


@dataclass(frozen=True)
class Layout:
    """Where a dataset's class folders lie below the root, and how torchvision downloads it."""

    folders: tuple[str, ...]
    download: Callable[[Path], Any]
    #: Folders of no class: left out if named in `exclude`, though the user's copy may lack them.
    clutter: frozenset[str] = frozenset()
    #: Class names for people, from the folders' names.
    shown: Callable[[Sequence[str]], Sequence[str]] = tuple


LAYOUTS = {
    "imagenette": Layout(
        folders=("imagenette2", "imagenette2-320", "imagenette2-160"),
        # 320 pixels are enough for 256, at a fifth of the size.
        download=lambda root: datasets.Imagenette(root, size="320px", download=True),
        shown=lambda folders: shown_names(folders, {}),
    ),
    "caltech101": Layout(
        folders=("caltech101/101_ObjectCategories", "101_ObjectCategories"),
        download=lambda root: datasets.Caltech101(root, download=True),
        clutter=frozenset({"BACKGROUND_Google"}),
    ),
    "caltech256": Layout(
        folders=("caltech256/256_ObjectCategories", "256_ObjectCategories"),
        download=lambda root: datasets.Caltech256(root, download=True),
        clutter=frozenset({"257.clutter"}),
        shown=_without_numbers,
    ),
}


class TorchvisionFolders(FolderSource):
    """A dataset as torchvision lays it out below `root`, or `root` is the folder of its classes.

    Imagenette comes with training and validation images; of the Caltech sets the splits are drawn
    class by class from the seed. Images deeper in a class folder are not read: Caltech-256 has
    some that do not belong.

    Args:
        root: where it is, or is downloaded to.
        dataset: one of `LAYOUTS`.
        download: let torchvision download it where it is not on the disk.
        options: as for `FolderSource`.

    Raises:
        UserError: it is not there, or cannot be downloaded.
    """

    nested = False

    def __init__(
        self, root: str | Path, *, dataset: str, download: bool = False, **options: Any
    ) -> None:
        super().__init__(root, **options)
        self.dataset = dataset
        self.download = download

    def _read(self) -> tuple[Sequence[str], dict[Split, LabelledFiles]]:
        layout = LAYOUTS[self.dataset]
        folder = self._find(layout)
        if folder is None and self.download:
            download(self.dataset, self.root, layout.download)
            folder = self._find(layout)
        if folder is None:
            raise UserError(
                f"There is no {self.dataset} in {self.root}, neither as "
                f"{' or '.join(layout.folders)} nor as folders of images; "
                "data.download=true downloads it."
            )
        self.root = folder
        classes = folder / "train" if (folder / "train").is_dir() else folder
        self.exclude -= layout.clutter - set(folder_names(classes))
        return super()._read()

    def _shown_names(self) -> Sequence[str]:
        return LAYOUTS[self.dataset].shown(self._class_ids)

    def _find(self, layout: Layout) -> Path | None:
        for name in layout.folders:
            if (self.root / name).is_dir():
                return self.root / name
        return self.root if self.root.is_dir() and self._has_classes() else None

    def _has_classes(self) -> bool:
        """Whether the root itself holds the classes, and not merely other datasets."""
        if (self.root / "train").is_dir():
            return True
        folders = (self.root / name for name in folder_names(self.root))
        filled = (folder for folder in folders if image_names(folder, nested=False))
        return len(list(islice(filled, 2))) == 2


def download(name: str, root: Path, fetch: Callable[[Path], Any]) -> None:
    """Let torchvision download a dataset; raises UserError, with its reason, if it cannot."""
    log.info(f"Downloading {name} to {root}")
    root.mkdir(parents=True, exist_ok=True)
    try:
        fetch(root)
    except (OSError, RuntimeError) as problem:
        raise UserError(f"{name} could not be downloaded ({reason_of(problem)}).") from problem
