"""The dataset that the project draws for itself (design: something real to learn anywhere)."""

from collections.abc import Mapping
from pathlib import Path

from zf_lightning.data.sources.base import LabelledFiles, Split
from zf_lightning.data.sources.folder import FolderSource
from zf_lightning.embedded import draw_dataset


class EmbeddedSource:
    """Composed objects with named parts, drawn on first use into an ordinary image folder.

    Args:
        root: where the drawn folder is or will be.
        seed: decides every picture.
        images: number of images of each split, or None for the usual ones.
        train_per_class: use only so many training images of each class.

    Raises:
        UserError: `root` holds something else, or `images` is not a legal choice.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        seed: int = 0,
        images: Mapping[str, int] | None = None,
        train_per_class: int | None = None,
    ) -> None:
        self.root = Path(root).expanduser()
        self.seed = seed
        self.images = images
        self._folder = FolderSource(self.root, train_per_class=train_per_class)
        self._prepared = False

    def prepare(self) -> None:
        """Draw the dataset if it is not there yet."""
        if not self._prepared:
            draw_dataset(self.root, seed=self.seed, counts=self.images)
            self._prepared = True

    @property
    def class_names(self) -> tuple[str, ...]:
        """The ten classes in alphabetical order."""
        self.prepare()
        return self._folder.class_names

    def split(self, name: Split) -> LabelledFiles:
        """The drawn files of a split."""
        self.prepare()
        return self._folder.split(name)
