"""The chunks of a split, on a disk of this machine or in a bucket with a cache before it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
from filelock import FileLock
from numpy.typing import NDArray

from zf_lightning.data.shards.encoding import ChunkFile
from zf_lightning.data.shards.layout import Chunk
from zf_lightning.data.shards.remote import download, is_remote
from zf_lightning.errors import UserError
from zf_lightning.system.digests import digest_of_file
from zf_lightning.system.files import write_whole

#: Number of chunks that are fetched before their first sample is asked for.
_CHUNKS_AHEAD = 4
#: Chunks that a cache must hold besides those of the window: the ones ahead, and two that have
#: just been left and entered.
SPARE_CHUNKS = _CHUNKS_AHEAD + 2
#: Transfers at a time, in each training process.
_TRANSFERS = 2
_REPAIR = "copy it anew, or prepare the shards again"


@dataclass
class ChunkStore:
    """Hands out chunks that are on this machine, complete and with the right checksum.

    A checksum is computed when a chunk is first used on a machine: once for all processes, and
    once more when the file has changed. It costs about 0.02 ms an image with 256-pixel JPEGs, a
    fiftieth of the decoding, and is remembered in `cache`.

    Chunks of a bucket are fetched when they are needed, each by one of the processes that want it,
    and ahead of that where the order is known; the ones that were used longest ago are deleted
    when `cache` holds more than `cache_bytes`. Every machine fetches every chunk: a global batch
    is the same on any number of machines, so that each of them reads from all chunks of the window.
    """

    #: Folder or URL of the split.
    root: str
    #: As its index lists them.
    chunks: Sequence[Chunk]
    #: A folder for this dataset on this machine.
    cache: Path
    #: How much of a bucket is kept.
    cache_bytes: float = float("inf")
    #: For LitData's storage client.
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.is_remote = is_remote(self.root)
        #: How many coming samples tell which chunks to fetch ahead.
        self.look_ahead = _CHUNKS_AHEAD * max(chunk.samples for chunk in self.chunks)
        self._requested: set[int] = set()
        self._threads: ThreadPoolExecutor | None = None
        self._process = os.getpid()

    def open(self, number: int) -> ChunkFile:
        """A chunk. Raises UserError, naming it, if it is missing or damaged."""
        chunk = self.chunks[number]
        if not self.is_remote:
            path = Path(self.root) / chunk.filename
            self._check_once(path, chunk)
            return ChunkFile(path, chunk)
        path = self.cache / chunk.filename
        while True:
            self._fetch(path, chunk)
            try:
                os.utime(path)
                return ChunkFile(path, chunk)
            except FileNotFoundError:
                # Another process has just made room: fetched again.
                continue

    def fetch_ahead(self, numbers: NDArray[numpy.int32]) -> None:
        """Begin to fetch the chunks `numbers` in their order; returns at once."""
        first, places = numpy.unique(numbers, return_index=True)
        wanted = first[numpy.argsort(places)].tolist()
        if self._threads is None or self._process != os.getpid():
            # Threads do not come along into a forked process.
            self._threads = ThreadPoolExecutor(_TRANSFERS, thread_name_prefix="chunks")
            self._process = os.getpid()
            self._requested = set()
        for number in wanted:
            if number not in self._requested:
                self._threads.submit(self._fetch_quietly, number)
        self._requested = set(wanted)

    def _fetch_quietly(self, number: int) -> None:
        chunk = self.chunks[number]
        try:
            self._fetch(self.cache / chunk.filename, chunk)
        except UserError:
            # The process that needs the chunk will meet the same and report it.
            self._requested.discard(number)

    def _fetch(self, path: Path, chunk: Chunk) -> None:
        if path.exists():
            return
        with self._only_one(path):
            if path.exists():
                return
            arriving = path.with_suffix(".arriving")
            where = f"{self.root}/{chunk.filename}"
            # A transfer can go wrong once without anything being wrong with the chunk.
            for last in (False, True):
                try:
                    download(where, arriving, self.options)
                    _check(arriving, chunk, where=where)
                    break
                except UserError:
                    arriving.unlink(missing_ok=True)
                    if last:
                        raise
            with self._only_one(self.cache / "room"):
                self._make_room(chunk.bytes)
                arriving.replace(path)

    def _make_room(self, needed: int) -> None:
        states = {file: file.stat() for file in self.cache.glob("chunk-*.bin")}
        used = sum(state.st_size for state in states.values())
        for file in sorted(states, key=lambda file: states[file].st_mtime_ns):
            if used + needed <= self.cache_bytes:
                break
            file.unlink()
            used -= states[file].st_size

    def _check_once(self, path: Path, chunk: Chunk) -> None:
        try:
            found = path.stat()
        except OSError:
            raise UserError(
                f"{path} is missing, although its index.json lists it; {_REPAIR}."
            ) from None
        mark = self.cache / f"{chunk.filename}.checked"
        state = f"{path.absolute()} {found.st_size} {found.st_mtime_ns} {chunk.sha256}"
        if _text(mark) == state:
            return
        with self._only_one(mark):
            if _text(mark) != state:
                _check(path, chunk, where=str(path))
                write_whole(mark, state)

    @contextmanager
    def _only_one(self, path: Path) -> Iterator[None]:
        self.cache.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            yield

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_threads": None, "_requested": set()}


def _check(path: Path, chunk: Chunk, *, where: str) -> None:
    size = path.stat().st_size
    if size != chunk.bytes:
        raise UserError(
            f"{where} is {size:,} bytes long, but its index.json says {chunk.bytes:,}: it is cut "
            f"short or another file; {_REPAIR}."
        )
    if digest_of_file(path) != chunk.sha256:
        raise UserError(
            f"{where} is damaged: its checksum is not the one in index.json; {_REPAIR}."
        )


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
