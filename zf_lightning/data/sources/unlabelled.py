"""Images to look into a network with, not to train one."""

from pathlib import Path

import numpy

from zf_lightning.data.sources.base import LabelledFiles, Split
from zf_lightning.data.sources.imagenet_labels import find_labels, shown_names
from zf_lightning.data.sources.scan import IMAGE_SUFFIXES, image_names
from zf_lightning.errors import UserError


class UnlabelledImages:
    """All images of a folder and the folders in it; every split is all of them.

    Where all of them lie in two or more folders of it, these are taken for their classes: pictures
    are captioned with them, and with ImageNet's names for wnids. Otherwise each label is -1 and
    there are no class names. Either way there is no split to learn from.

    Raises:
        UserError: the folder does not exist or holds no images (when it is read).
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).expanduser()
        self._class_names: tuple[str, ...] = ()
        self._files: LabelledFiles | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the folders are called, in the order of the labels; may be empty."""
        self.prepare()
        return self._class_names

    def prepare(self) -> None:
        """Read the folder."""
        if self._files is not None:
            return
        if not self.root.is_dir():
            raise UserError(f"data.root={self.root} is not a folder of images.")
        names = image_names(self.root)
        if not names:
            raise UserError(f"{self.root} holds no images ({', '.join(IMAGE_SUFFIXES)}).")
        labels = numpy.full(len(names), -1)
        first = [name.split("/")[0] if "/" in name else "" for name in names]
        folders = sorted(set(first))
        if len(folders) > 1 and all(folders):
            places = {folder: place for place, folder in enumerate(folders)}
            labels = numpy.array([places[folder] for folder in first])
            words = find_labels([self.root, self.root.parent]).words
            self._class_names = shown_names(folders, words)
        self._files = LabelledFiles(self.root, names, labels)

    def split(self, name: Split) -> LabelledFiles:
        """All images."""
        self.prepare()
        assert self._files is not None
        return self._files
