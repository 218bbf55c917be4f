"""Images to look into a network with, not to train one."""

from collections.abc import Sequence
from pathlib import Path

from zf_lightning.data.sources.base import SPLITS, LabelledFiles, Split, SplitSource
from zf_lightning.data.sources.imagenet_labels import find_labels, shown_names
from zf_lightning.data.sources.scan import IMAGE_SUFFIXES, image_names
from zf_lightning.errors import UserError


class UnlabelledImages(SplitSource[LabelledFiles]):
    """All images of a folder and the folders in it; every split is all of them.

    Where all of them lie in two or more folders of it, these are taken for their classes: pictures
    are captioned with them, and with ImageNet's names for wnids. Otherwise each label is -1 and
    there are no class names. Either way there is no split to learn from.

    Raises:
        UserError: the folder does not exist or contains no images (when it is read).
    """

    def __init__(self, root: Path | str) -> None:
        super().__init__()
        self.root = Path(root).expanduser()

    def _read(self) -> tuple[Sequence[str], dict[Split, LabelledFiles]]:
        if not self.root.is_dir():
            raise UserError(f"data.root={self.root} is not a folder of images.")
        names = image_names(self.root, ignored=self.ignored)
        if not names:
            raise UserError(f"{self.root} contains no images ({', '.join(IMAGE_SUFFIXES)}).")
        class_names: Sequence[str] = ()
        labels = [-1] * len(names)
        first = [name.split("/")[0] if "/" in name else "" for name in names]
        folders = sorted(set(first))
        if len(folders) > 1 and all(folders):
            self.layout = "named by their folders"
            number = {folder: label for label, folder in enumerate(folders)}
            labels = [number[folder] for folder in first]
            class_names = shown_names(folders, find_labels([self.root, self.root.parent]).words)
        return class_names, dict.fromkeys(SPLITS, LabelledFiles(self.root, names, labels))
