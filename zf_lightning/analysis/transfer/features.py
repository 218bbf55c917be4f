"""Features of a set of images on disk, filled in one pass that can be resumed.

Axes: N images, D features of a layer.
"""

import logging
import re
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
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
        return min(self._done(layer) for layer in layers)

    def layer(self, name: str) -> LayerFeatures:
        """The features of a layer."""
        dimensions = self._read()[name]["dimensions"]
        return LayerFeatures(self.folder, name, images=self.images, dimensions=dimensions)

    def fill(
        self,
        layers: Sequence[str],
        features: Callable[[Tensor], Mapping[str, Tensor]],
        batches: Iterable[Tensor],
    ) -> int:
        """Continue from `start(layers)` to the last image; returns the number of images added.

        Args:
            features: gives `[n, D]` of each layer for a batch.
            batches: of the images from `start(layers)` on, in their order.

        Raises UserError where the features are not finite, or the disk is full.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        first = done = marked = self.start(layers)
        progress = self._read()
        before = {layer: self._done(layer) for layer in layers}
        checksums = {layer: progress.get(layer, {}).get("checksums") for layer in layers}
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
                # Rows that are there are not rewritten: their checksum covers them as they are.
                there = max(0, before[layer] - done)
                kept[layer].write(done + there, rows[there:])
            done += len(batch)
            if done - marked >= ROWS_BETWEEN_MARKS or done == self.images:
                for layer in layers:
                    if done <= before[layer]:
                        continue
                    known = checksums[layer]
                    checksums[layer] = (
                        kept[layer].checksums(0, done)
                        if known is None
                        else kept[layer].checksums(max(marked, before[layer]), done, known)
                    )
                    progress[layer] = {
                        "done": done,
                        "dimensions": kept[layer].dimensions,
                        "checksums": checksums[layer],
                    }
                    self._sound[layer] = done
                write_json(self._path, progress)
                marked = done
        assert done == self.images, f"{done} of {self.images} images came"
        return done - first

    def _check_room(self, dimensions: Mapping[str, int]) -> None:
        """Raise UserError if the disk is too small: a memory map would kill the process."""
        needed = sum(2 * self.images * size for size in dimensions.values())
        used = sum(2 * self.images * one["dimensions"] for one in self._read().values())
        free = shutil.disk_usage(self.folder).free
        if needed > free + used:
            raise UserError(
                f"The features need {needed / 1e9:.1f} GB in {self.folder}, where "
                f"{free / 1e9:.1f} GB are free; take fewer transfer.layers, a smaller "
                "transfer.pooled_size, or another paths.cache."
            )

    def _done(self, layer: str) -> int:
        """Number of undamaged images of a layer: all that were `done`, or none."""
        if layer not in self._sound:
            entry = self._read().get(layer)
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
        progress = self._read()
        del progress[layer]
        write_json(self._path, progress)
        return 0

    def _read(self) -> dict[str, dict[str, Any]]:
        """By layer: the number of images `done`, `dimensions` and `checksums`."""
        try:
            return read_json(self._path)
        except FileNotFoundError:
            return {}
        except DamagedFile as damage:
            log.warning(f"{damage} The features are computed again.")
            self._path.unlink()
            return {}


def _open(path: Path, kind: str, rows: int, columns: int) -> numpy.memmap:
    mode: Literal["r+", "w+"] = "r+" if path.exists() else "w+"
    return numpy.memmap(path, dtype=kind, mode=mode, shape=(rows, columns))
