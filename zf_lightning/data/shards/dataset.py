"""The samples of a split in shards, in orders that read few chunks at a time."""

import os
from collections import OrderedDict
from typing import Any, Self

import numpy
from numpy.typing import NDArray

from zf_lightning.data.shards.chunk_store import ChunkStore
from zf_lightning.data.shards.encoding import ChunkFile, decode_sample, image_bytes
from zf_lightning.data.shards.layout import Samples
from zf_lightning.data.sources.base import FileNames, Indices, LabelledImages, Sample, SampleKey
from zf_lightning.system.digests import digest_of

#: Chunks beyond the window that stay mapped: those that have just been left and entered.
_SPARE_CHUNKS = 4


class ShardedImages(LabelledImages):
    """The samples of a split; the index of a sample is that in its source.

    So crops, atlas and counts are those of the images that the shards were made from.

    Args:
        store: the split's chunks.
        samples: where each sample lies.
        format: `jpeg` or `raw`.
        window: number of chunks whose samples are mixed in training.
    """

    def __init__(self, store: ChunkStore, samples: Samples, *, format: str, window: int) -> None:
        self.labels = samples.labels.astype(numpy.int64)
        self.names = FileNames(map(os.fsdecode, samples.names.tolist()))
        self._chunks, self._rows = samples.chunks, samples.rows
        self._samples = samples
        self.store = store
        self._format = format
        self._window = window
        self._open: OrderedDict[int, ChunkFile] = OrderedDict()

    def __getitem__(self, key: SampleKey | int) -> Sample:
        """Decode a sample.

        Raises UserError, naming the chunk, if it is missing or damaged.
        """
        if not isinstance(key, SampleKey):
            key = SampleKey(range(len(self))[key])
        chunk, row = self.place(key.index)
        image = decode_sample(self._chunk(chunk)[row], format=self._format)
        return image, int(self.labels[key.index]), key.index, key.weight

    def place(self, index: int) -> tuple[int, int]:
        """Number of the chunk of a sample, and its row there."""
        return int(self._chunks[index]), int(self._rows[index])

    def encoded(self, index: int) -> bytes:
        """A sample's image as it is stored: a JPEG, or pixels."""
        chunk, row = self.place(index)
        return image_bytes(self._chunk(chunk)[row])

    def training_order(self, generator: numpy.random.Generator) -> NDArray[numpy.int64]:
        """See `windowed_order`."""
        return windowed_order(self._chunks, window=self._window, generator=generator)

    def evaluation_order(self) -> NDArray[numpy.int64]:
        """Chunk after chunk as they lie: they were filled in a scattered order."""
        return numpy.lexsort((self._rows, self._chunks))

    def expect(self, coming: NDArray[numpy.int64]) -> None:
        """Fetch the chunks of the next samples, where they are not on this machine yet."""
        if self.store.is_remote:
            self.store.fetch_ahead(self._chunks[coming[: self.store.look_ahead]])

    def order_key(self) -> int:
        """A number that changes with the window, and with which sample lies where."""
        digest = digest_of([self._chunks.tobytes(), self._rows.tobytes(), str(self._window)])
        return int.from_bytes(bytes.fromhex(digest[:8]), "little") + 1

    def sample_key(self, index: int) -> bytes:
        """Chunk, its checksum, and the place in it."""
        chunk, row = self.place(index)
        return f"{self.store.chunks[chunk].sha256} {row}\n".encode()

    def subset(self, indices: Indices) -> Self:
        """Some of the samples, in the order of `indices`; their statistics are not known."""
        samples = self._samples.subset(indices)
        return type(self)(self.store, samples, format=self._format, window=self._window)

    def _chunk(self, number: int) -> ChunkFile:
        if number not in self._open:
            self._open[number] = self.store.open(number)
            # A file that was evicted from the disk takes its room until it is no longer mapped.
            if len(self._open) > self._window + _SPARE_CHUNKS:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}


def windowed_order(
    chunks: NDArray[numpy.int32], *, window: int, generator: numpy.random.Generator
) -> NDArray[numpy.int64]:
    """A random permutation in which neighbours come from about `window` chunks.

    `chunks` `[N]` is the chunk of each sample. The chunks are permuted, and the samples of the
    n-th are spread evenly over the times n to n + `window`: at every time those of `window` chunks
    are mixed, and a chunk that has been left is not needed again in the epoch. Chunks hold random
    samples of the dataset (`prepare`), so that a batch is one too. With as many chunks as the
    window or fewer, it is a plain permutation.
    """
    numbers = int(chunks.max()) + 1
    if numbers <= window:
        return generator.permutation(len(chunks))
    turn = generator.permutation(numbers)
    times = turn[chunks] + window * generator.random(len(chunks))
    return numpy.argsort(times, kind="stable")
