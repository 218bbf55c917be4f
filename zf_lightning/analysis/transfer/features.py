"""Features of a whole set of images on disk, filled in one pass that can be resumed.

Axes: N images, D features of a layer.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy
from numpy.typing import NDArray
from torch import Tensor

from zf_lightning.errors import UserError
from zf_lightning.system.files import write_whole

#: Rows that are written before the progress is: what a kill costs at most.
ROWS_BETWEEN_MARKS = 512


class LayerFeatures:
    """The features of one layer: float16 `[N, D]` on disk, each row with a scale of its own.

    A row is divided by its largest magnitude, so that no activation is too large for float16, at
    the cost of 0.05 % of that.
    """

    def __init__(self, folder: Path, layer: str, *, images: int, dimensions: int) -> None:
        self.layer = layer
        self.dimensions = dimensions
        stem = re.sub(r"[^\w.\-]", "_", layer)
        self._rows: numpy.memmap = _open(folder / f"{stem}.float16", "float16", images, dimensions)
        self._scales: numpy.memmap = _open(folder / f"{stem}.scale", "float32", images, 1)

    def __len__(self) -> int:
        return len(self._rows)

    def write(self, start: int, features: NDArray[numpy.float32]) -> None:
        """Keep the rows `[n, D]` of images `start` to `start + n`.

        Raises UserError for values that are not finite.
        """
        scales = numpy.abs(features).max(axis=1, keepdims=True)
        if not numpy.isfinite(scales).all():
            raise UserError(
                f"{self.layer} has features that are not finite numbers: the network's weights or "
                "its preprocessing are not what they should be."
            )
        safe = numpy.where(scales > 0, scales, 1.0)
        self._rows[start : start + len(features)] = features / safe
        self._scales[start : start + len(features)] = scales

    def read(
        self, images: NDArray[numpy.int64] | slice, columns: slice = slice(None)
    ) -> NDArray[numpy.float32]:
        """The rows of `images`, float32 `[n, D]`, or some columns of them."""
        return self._rows[images, columns].astype(numpy.float32) * self._scales[images]


class FeatureCache:
    """A folder with the features of some layers of one network for one list of images.

    Args:
        folder: a place of its own for this network, these images and this way of reading them.
        images: how many images there are.
    """

    def __init__(self, folder: Path, *, images: int) -> None:
        self.folder = folder
        self.images = images
        self._path = folder / "progress.json"

    def complete(self, layers: Iterable[str]) -> bool:
        """Whether all features of these layers are there."""
        return self.start(layers) == self.images

    def start(self, layers: Iterable[str]) -> int:
        """The first image of which features of these layers are missing."""
        progress = self._read()
        return min(progress.get(layer, {"done": 0})["done"] for layer in layers)

    def layer(self, name: str) -> LayerFeatures:
        """What is kept of a layer."""
        dimensions = self._read()[name]["dimensions"]
        return LayerFeatures(self.folder, name, images=self.images, dimensions=dimensions)

    def fill(
        self,
        layers: Sequence[str],
        features: Callable[[Tensor], Mapping[str, Tensor]],
        batches: Iterable[Tensor],
    ) -> int:
        """Continue from `start(layers)` to the last image; returns how many images that were.

        Args:
            features: gives `[n, D]` of each layer for a batch.
            batches: of the images from `start(layers)` on, in their order.

        Raises UserError where the features are not finite, or the disk is full.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        first = done = marked = self.start(layers)
        progress = self._read()
        kept: dict[str, LayerFeatures] = {}
        for batch in batches:
            found = features(batch)
            if not kept:
                self._check_room({layer: found[layer].shape[1] for layer in layers})
            for layer in layers:
                rows = found[layer].float().cpu().numpy()
                if layer not in kept:
                    kept[layer] = LayerFeatures(
                        self.folder, layer, images=self.images, dimensions=rows.shape[1]
                    )
                kept[layer].write(done, rows)
            done += len(batch)
            if done - marked >= ROWS_BETWEEN_MARKS or done == self.images:
                for layer in layers:
                    before = progress.get(layer, {"done": 0})["done"]
                    dimensions = kept[layer].dimensions
                    progress[layer] = {"done": max(done, before), "dimensions": dimensions}
                write_whole(self._path, json.dumps(progress, indent=2) + "\n")
                marked = done
        assert done == self.images, f"{done} of {self.images} images came"
        return done - first

    def _check_room(self, dimensions: Mapping[str, int]) -> None:
        """Raise UserError for a disk that is too small: a memory map would end the process."""
        needed = sum(2 * self.images * size for size in dimensions.values())
        used = sum(2 * self.images * one["dimensions"] for one in self._read().values())
        free = shutil.disk_usage(self.folder).free
        if needed > free + used:
            raise UserError(
                f"The features need {needed / 1e9:.1f} GB in {self.folder}, where "
                f"{free / 1e9:.1f} GB are free; take fewer transfer.layers, a smaller "
                "transfer.pooled_size, or another paths.cache."
            )

    def _read(self) -> dict[str, dict[str, int]]:
        """By layer, the number of images that are `done`, and of `dimensions`."""
        return json.loads(self._path.read_text()) if self._path.exists() else {}


def _open(path: Path, kind: str, rows: int, columns: int) -> numpy.memmap:
    mode: Literal["r+", "w+"] = "r+" if path.exists() else "w+"
    return numpy.memmap(path, dtype=kind, mode=mode, shape=(rows, columns))
