"""The dataset that the project draws for itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from zf_lightning.data.sources.base import LabelledFiles, Split
from zf_lightning.data.sources.folder import FolderSource
from zf_lightning.embedded import draw_dataset


class EmbeddedSource(FolderSource):
    """Composed objects with named parts, drawn on first use into an ordinary image folder.

    Args:
        root: where the drawn folder is or will be.
        seed: decides every picture.
        images: number of images of each split, or None for the usual ones.
        train_per_class: as for `SplitSource`.

    Raises:
        UserError: `root` contains something else, or `images` is not a legal choice.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        seed: int = 0,
        images: Mapping[str, int] | None = None,
        train_per_class: int | None = None,
    ) -> None:
        super().__init__(root, train_per_class=train_per_class)
        self.drawing_seed = seed
        self.images = images

    def _read(self) -> tuple[Sequence[str], dict[Split, LabelledFiles]]:
        draw_dataset(self.root, seed=self.drawing_seed, counts=self.images)
        found = super()._read()
        self.layout = f"drawn from seed {self.drawing_seed}"
        # Masks and parts.
        self.ignored.clear()
        return found
