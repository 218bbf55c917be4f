"""Features of a set of images on disk, filled in one pass that can be resumed.

Axes: N images, D features of a layer.
"""

import logging
import re
import shutil
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy
from numpy.typing import NDArray
from torch import Tensor

from zf_lightning.errors import DamagedFile, UserError
from zf_lightning.system.sealed import read_json, write_json

log = logging.getLogger(__name__)

#: Rows between two records of the progress: the most that a kill costs.
ROWS_BETWEEN_MARKS = 512


class LayerFeatures:
    """The features of one layer: float16 `[N, D]` on disk, each row with a scale of its own.

    A row is divided by its largest magnitude, so that none overflows float16; the error is at most
    0.05 % of that magnitude.
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
        """Write the rows `[n, D]` of images `start` to `start + n`.

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

    def checksums(self, start: int, stop: int, before: Sequence[int] = (0, 0)) -> list[int]:
        """CRC-32 of rows and of scales from `start` to `stop`, continuing from `before`."""
        rows, scales = before
        for first in range(start, stop, ROWS_BETWEEN_MARKS):
            part = slice(first, min(first + ROWS_BETWEEN_MARKS, stop))
            rows = zlib.crc32(numpy.ascontiguousarray(self._rows[part]).data, rows)
            scales = zlib.crc32(numpy.ascontiguousarray(self._scales[part]).data, scales)
        return [rows, scales]

    def read(
        self, images: NDArray[numpy.int64] | slice, columns: slice = slice(None)
    ) -> NDArray[numpy.float32]:
        """The rows of `images`, float32 `[n, D]`, or some of their columns."""
        return self._rows[images, columns].astype(numpy.float32) * self._scales[images]


class FeatureCache:
    """A folder with the features of some layers of one network for one list of images.

    Args:
        folder: for this network, these images and this way of reading them alone.
        images: their number.
    """

    def __init__(self, folder: Path, *, images: int) -> None:
        self.folder = folder
        self.images = images
        self._path = folder / "progress.json"
        self._sound: dict[str, int] = {}

    def complete(self, layers: Iterable[str]) -> bool:
        """Whether all features of these layers are there."""
        return self.start(layers) == self.images

    def start(self, layers: Iterable[str]) -> int:
        """The first image that lacks features of one of these layers."""
        return min(self.done(layer) for layer in layers)

    def layer(self, name: str) -> LayerFeatures:
        """The features of a layer."""
        dimensions = self.read_progress()[name]["dimensions"]
        return LayerFeatures(self.folder, name, images=self.images, dimensions=dimensions)

    def filling(self, layers: Sequence[str]) -> "Filling":
        """Continues from `start(layers)` on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return Filling(self, layers)

    def check_room(self, dimensions: Mapping[str, int]) -> None:
        """Raise UserError if the disk is too small: a memory map would kill the process."""
        needed = sum(2 * self.images * size for size in dimensions.values())
        used = sum(2 * self.images * one["dimensions"] for one in self.read_progress().values())
        free = shutil.disk_usage(self.folder).free
        if needed > free + used:
            raise UserError(
                f"The features need {needed / 1e9:.1f} GB in {self.folder}, where "
                f"{free / 1e9:.1f} GB are free; take fewer transfer.layers, a smaller "
                "transfer.pooled_size, or another paths.cache."
            )

    def done(self, layer: str) -> int:
        """Number of undamaged images of a layer: all that were `done`, or none."""
        if layer not in self._sound:
            entry = self.read_progress().get(layer)
            self._sound[layer] = 0 if entry is None else self._verified(layer, entry)
        return self._sound[layer]

    def _verified(self, layer: str, entry: Mapping[str, Any]) -> int:
        # Earlier versions wrote no checksums.
        expected = entry.get("checksums")
        if expected is None or self.layer(layer).checksums(0, entry["done"]) == expected:
            return entry["done"]
        log.warning(
            f"The features of {layer} in {self.folder} are damaged: they are computed again."
        )
        progress = self.read_progress()
        del progress[layer]
        write_json(self._path, progress)
        return 0

    def mark(self, progress: Mapping[str, Mapping[str, Any]], layers: Iterable[str]) -> None:
        """Write what `read_progress` reads, after `layers` have grown."""
        write_json(self._path, progress)
        self._sound |= {layer: progress[layer]["done"] for layer in layers}

    def read_progress(self) -> dict[str, dict[str, Any]]:
        """By layer: the number of images `done`, `dimensions` and `checksums`."""
        try:
            return read_json(self._path)
        except FileNotFoundError:
            return {}
        except DamagedFile as damage:
            log.warning(f"{damage} The features are computed again.")
            self._path.unlink()
            return {}


class Filling:
    """Writes the features of images in their order, and from time to time how far it has come."""

    def __init__(self, cache: FeatureCache, layers: Sequence[str]) -> None:
        self._cache, self._layers = cache, layers
        #: Images that all layers have, from the first on.
        self.done = self._marked = cache.start(layers)
        self._progress = cache.read_progress()
        self._before = {layer: cache.done(layer) for layer in layers}
        self._checksums = {
            layer: self._progress.get(layer, {}).get("checksums") for layer in layers
        }
        self._kept: dict[str, LayerFeatures] = {}

    def add(self, found: Mapping[str, Tensor]) -> None:
        """Write the features `[n, D]` of each layer of the next `n` images.

        Raises UserError where they are not finite, or the disk is full.
        """
        if not self._kept:
            self._cache.check_room({layer: found[layer].shape[1] for layer in self._layers})
        count = 0
        for layer in self._layers:
            rows = found[layer].float().cpu().numpy()
            count = len(rows)
            if layer not in self._kept:
                self._kept[layer] = LayerFeatures(
                    self._cache.folder, layer, images=self._cache.images, dimensions=rows.shape[1]
                )
            # Not again what is there: its checksum is that of the rows as they are.
            there = max(0, self._before[layer] - self.done)
            self._kept[layer].write(self.done + there, rows[there:])
        self.done += count
        if self.done - self._marked >= ROWS_BETWEEN_MARKS or self.done == self._cache.images:
            self._mark()

    def _mark(self) -> None:
        for layer, kept in self._kept.items():
            before, known = self._before[layer], self._checksums[layer]
            if self.done <= before:
                continue
            self._checksums[layer] = (
                kept.checksums(0, self.done)
                if known is None
                else kept.checksums(max(self._marked, before), self.done, known)
            )
            self._progress[layer] = {
                "done": self.done,
                "dimensions": kept.dimensions,
                "checksums": self._checksums[layer],
            }
        self._cache.mark(self._progress, self._kept)
        self._marked = self.done


def _open(path: Path, kind: str, rows: int, columns: int) -> numpy.memmap:
    mode: Literal["r+", "w+"] = "r+" if path.exists() else "w+"
    return numpy.memmap(path, dtype=kind, mode=mode, shape=(rows, columns))
