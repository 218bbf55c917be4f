"""A dataset in shards, on a disk or in a bucket, as task=prepare writes it."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy
from filelock import FileLock

from zf_lightning.data.pixel_statistics import PixelStatistics
from zf_lightning.data.shards.chunk_store import SPARE_CHUNKS, ChunkStore
from zf_lightning.data.shards.dataset import ShardedImages
from zf_lightning.data.shards.layout import (
    DATASET_FILE,
    INDEX_FILE,
    SAMPLES_FILE,
    STATISTICS_FILE,
    Chunk,
    Description,
    Samples,
    read_index,
)
from zf_lightning.data.shards.remote import download, is_remote
from zf_lightning.data.sources.base import SPLITS, Split, SplitSource
from zf_lightning.errors import DamagedFile, UserError
from zf_lightning.system.digests import digest_of
from zf_lightning.system.files import write_whole


class ShardSource(SplitSource[ShardedImages]):
    """A dataset in shards. Without a test split the validation images are tested on.

    Args:
        root: folder, or URL (`s3://bucket/folder` and what else LitData knows).
        cache: folder of this machine for checked and fetched chunks.
        cache_gb: how many gigabytes of a bucket are kept there for each split.
        shuffle_window: number of chunks whose samples are mixed in training.
        storage_options: for LitData's storage client.
        train_per_class, seed: as for `SplitSource`.

    Raises:
        UserError: there are no shards at `root`, or their records contradict one another.
    """

    def __init__(
        self,
        root: str,
        *,
        cache: str | Path,
        cache_gb: float,
        shuffle_window: int,
        storage_options: Mapping[str, Any] | None = None,
        train_per_class: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(train_per_class=train_per_class, seed=seed)
        self.is_remote = is_remote(str(root))
        self.root = str(root).rstrip("/") if self.is_remote else str(Path(root).expanduser())
        self.cache = Path(cache).expanduser()
        self.cache_bytes = cache_gb * 1e9
        self.shuffle_window = shuffle_window
        self.storage_options = dict(storage_options or {})

    def _read(self) -> tuple[Sequence[str], dict[Split, ShardedImages]]:
        records = self._description_file()
        description = Description.read(records, root=self.root)
        if "train" not in description.counts or "val" not in description.counts:
            raise UserError(f"{self.root} lacks the training or the validation split.")
        # The cache belongs to one state of one dataset: other shards at the same place get
        # another folder.
        digest = digest_of([self.root, records.read_bytes()])[:16]
        return description.class_names, {
            name: self._read_split(name, description, self.cache / digest)
            for name in SPLITS
            if name in description.counts
        }

    def _description_file(self) -> Path:
        if not self.is_remote:
            path = Path(self.root) / DATASET_FILE
            if not path.is_file():
                raise UserError(
                    f"data.root={self.root} contains no finished shards (no {DATASET_FILE}); make "
                    "them with task=prepare."
                )
            return path
        digest = digest_of([self.root])[:16]
        # Always anew: this file tells whether the shards in the bucket have changed.
        return self._fetch(DATASET_FILE, self.cache / f"{digest}-{DATASET_FILE}", again=True)

    def _fetch(self, name: str, path: Path, *, again: bool = False) -> Path:
        """A file of the dataset by its name below the root, on this machine."""
        if not self.is_remote:
            return Path(self.root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if again or not path.exists():
                url = f"{self.root}/{name}"
                write_whole(path, lambda file: download(url, file, self.storage_options))
        return path

    def _read_split(self, name: Split, description: Description, cache: Path) -> ShardedImages:
        index = self._fetch(f"{name}/{INDEX_FILE}", cache / name / INDEX_FILE)
        chunks = read_index(index, where=f"{self.root}/{name}/{INDEX_FILE}")
        table = self._fetch(f"{name}/{SAMPLES_FILE}", cache / name / SAMPLES_FILE)
        samples = Samples.load(table, where=f"{self.root}/{name}/{SAMPLES_FILE}")
        self._check_index(name, chunks, samples, description.counts[name])
        self._check_cache(chunks)
        store = ChunkStore(
            f"{self.root}/{name}",
            chunks,
            cache=cache / name,
            cache_bytes=self.cache_bytes,
            options=self.storage_options,
        )
        images = ShardedImages(
            store, samples, format=description.format, window=self.shuffle_window
        )
        if name == "train":
            statistics = self._fetch(STATISTICS_FILE, cache / STATISTICS_FILE)
            try:
                images.known_statistics = PixelStatistics.load(statistics)
            except (FileNotFoundError, DamagedFile) as problem:
                reason = "missing" if isinstance(problem, FileNotFoundError) else "damaged"
                raise UserError(
                    f"{self.root}/{STATISTICS_FILE} is {reason}; copy it anew, or prepare the "
                    "shards again."
                ) from problem
        return images

    def _check_index(self, name: Split, chunks: list[Chunk], samples: Samples, count: int) -> None:
        """The index must list the chunks that the table of samples counts, in their order."""
        held = numpy.bincount(samples.chunks, minlength=len(samples.checksums)).tolist()
        sums = [checksum.decode() for checksum in samples.checksums.tolist()]
        expected = list(zip(sums, held, strict=True))
        listed = [(chunk.sha256, chunk.samples) for chunk in chunks]
        if expected != listed or len(samples.labels) != count:
            pairs = enumerate(zip_longest(expected, listed))
            first = next((number for number, (a, b) in pairs if a != b), len(listed))
            chunk = chunks[first].filename if first < len(chunks) else f"chunk {first}"
            raise UserError(
                f"{self.root}/{name}: {INDEX_FILE}, {SAMPLES_FILE} and {DATASET_FILE} do not "
                f"belong together: they disagree about {chunk}. Copy the three anew, or prepare "
                "the shards again."
            )

    def _check_cache(self, chunks: list[Chunk]) -> None:
        needed = (self.shuffle_window + SPARE_CHUNKS) * max(chunk.bytes for chunk in chunks)
        whole = sum(chunk.bytes for chunk in chunks)
        if self.is_remote and self.cache_bytes < min(needed, whole):
            raise UserError(
                f"data.cache_gb={self.cache_bytes / 1e9:g} is too small for a window of "
                f"{self.shuffle_window} chunks: give at least {min(needed, whole) / 1e9:.2g}, or a "
                "smaller data.shuffle_window."
            )
