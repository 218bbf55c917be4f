"""Images without classes: to look into a network with, not to train one."""

from pathlib import Path

import numpy

from zf_lightning.data.sources.base import LabelledFiles, Split
from zf_lightning.data.sources.scan import IMAGE_SUFFIXES, image_names
from zf_lightning.errors import UserError


class UnlabelledImages:
    """All images of a folder and the folders in it; every split is all of them.

    Their label is -1 and there are no class names.

    Raises:
        UserError: the folder does not exist or holds no images (when it is read).
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).expanduser()
        self.class_names: tuple[str, ...] = ()
        self._files: LabelledFiles | None = None

    def prepare(self) -> None:
        """Read the folder."""
        if self._files is not None:
            return
        if not self.root.is_dir():
            raise UserError(f"data.root={self.root} is not a folder of images.")
        names = image_names(self.root)
        if not names:
            raise UserError(f"{self.root} holds no images ({', '.join(IMAGE_SUFFIXES)}).")
        self._files = LabelledFiles(self.root, names, numpy.full(len(names), -1))

    def split(self, name: Split) -> LabelledFiles:
        """All images."""
        self.prepare()
        assert self._files is not None
        return self._files
