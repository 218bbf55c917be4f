"""The files of a dataset in shards, on a disk or in a bucket, and the records that describe it.

<root>/dataset.json             classes, splits, format and how they were made; written last
<root>/statistics.safetensors   mean image and spread of the training images
<root>/<split>/index.json       LitData's index, with a checksum for each chunk
<root>/<split>/chunk-0-<n>.bin  LitData's chunks: image, label, index and name of each sample
<root>/<split>/samples.npz      labels, names and places of all samples
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from zf_lightning.errors import UserError
from zf_lightning.system.files import write_whole
from zf_lightning.system.sealed import check_archive, read_json, seal_archive, write_json

#: Raised when older shards can no longer be read, or the same images would give others.
VERSION = 1
DATASET_FILE = "dataset.json"
STATISTICS_FILE = "statistics.safetensors"
INDEX_FILE = "index.json"
SAMPLES_FILE = "samples.npz"
CHUNK_NAME = re.compile(r"chunk-\d+-\d+\.bin")


@dataclass(frozen=True)
class Chunk:
    """One file of a split, as the index describes it."""

    filename: str
    #: Size of the file.
    bytes: int
    samples: int
    #: Hexadecimal, of the whole file: what `sha256sum` prints.
    sha256: str


@dataclass(frozen=True)
class Samples:
    """What is known of a split's samples without opening a chunk, in the order of the samples."""

    #: int32 `[N]`.
    labels: NDArray[numpy.int32]
    #: Chunk of each sample, int32 `[N]`.
    chunks: NDArray[numpy.int32]
    #: Place of each sample in its chunk, int32 `[N]`.
    rows: NDArray[numpy.int32]
    #: UTF-8, `[N]`.
    names: NDArray[numpy.bytes_]
    #: SHA-256 of the chunks that `chunks` counts, hexadecimal, `[number of chunks]`.
    checksums: NDArray[numpy.bytes_]

    def subset(self, indices: Sequence[int] | NDArray[numpy.int64]) -> "Samples":
        """Some of the samples, in the order of `indices`."""
        return replace(
            self,
            labels=self.labels[indices],
            chunks=self.chunks[indices],
            rows=self.rows[indices],
            names=self.names[indices],
        )

    def save(self, path: Path) -> None:
        """Write `samples.npz`."""
        write_whole(path, self._save)

    def _save(self, path: Path) -> None:
        with path.open("wb") as file:
            numpy.savez_compressed(file, **vars(self))
        seal_archive(path)

    @classmethod
    def load(cls, path: Path, *, where: str) -> "Samples":
        """Read what `save` wrote; `where` names it in messages. Raises UserError if it cannot."""
        try:
            check_archive(path)
            with numpy.load(path, allow_pickle=False) as arrays:
                return cls(**{name: arrays[name] for name in cls.__dataclass_fields__})
        except FileNotFoundError:
            raise UserError(f"{where} is missing; prepare the shards again.") from None
        except Exception as problem:
            # A damaged archive fails in as many ways as it has parts.
            raise UserError(f"{where} is damaged; prepare the shards again.") from problem


@dataclass(frozen=True)
class Description:
    """The content of `dataset.json`."""

    version: int
    #: `jpeg` or `raw`.
    format: str
    class_names: Sequence[str]
    #: Number of samples of each split.
    counts: Mapping[str, int]
    #: What the shards were made from, and how.
    plan: Mapping[str, Any]

    def write(self, root: Path) -> None:
        """Write `dataset.json`."""
        write_json(root / DATASET_FILE, asdict(self))

    @classmethod
    def read(cls, path: Path, *, root: str) -> "Description":
        """Read it; `root` is the place to name in messages. Raises UserError for another file."""
        try:
            found = cls(**read_json(path))
        except (ValueError, TypeError) as problem:
            reason = str(problem).removeprefix(f"{path} ").rstrip(".")
            raise UserError(
                f"{root}/{DATASET_FILE} is not what task=prepare writes: {reason}."
            ) from None
        if found.version != VERSION:
            raise UserError(
                f"{root} has shards of version {found.version}, and this program reads version "
                f"{VERSION}; prepare them again."
            )
        return found


def read_index(path: Path, *, where: str) -> list[Chunk]:
    """The chunks that an `index.json` lists; `where` names it in messages.

    Raises UserError for another file, and for chunks that are not in its own folder.
    """
    try:
        chunks = [
            Chunk(entry["filename"], entry["chunk_bytes"], entry["chunk_size"], entry["sha256"])
            for entry in read_json(path)["chunks"]
        ]
        outside = [chunk for chunk in chunks if not CHUNK_NAME.fullmatch(chunk.filename)]
    except FileNotFoundError:
        raise UserError(f"{where} is missing; prepare the shards again.") from None
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{where} is not an index that task=prepare wrote.") from None
    if outside:
        raise UserError(
            f"{where} names the chunk {outside[0].filename!r}, which is outside: refused."
        )
    return chunks


def write_index(path: Path, chunks: Sequence[Chunk], config: Mapping[str, Any]) -> None:
    """Write LitData's `index.json`; `config` is what its writer says of the samples' format."""
    keys = ("filename", "chunk_bytes", "chunk_size", "dim", "sha256")
    rows = [(chunk.filename, chunk.bytes, chunk.samples, None, chunk.sha256) for chunk in chunks]
    entries = [dict(zip(keys, row, strict=True)) for row in rows]
    write_json(path, {"chunks": entries, "config": dict(config), "updated_at": "0"})
