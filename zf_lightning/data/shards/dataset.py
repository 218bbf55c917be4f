"""A split of shards: samples by their indices, in orders that read few chunks at a time."""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Self

import numpy
from numpy.typing import NDArray
from torch import Tensor

from zf_lightning.data.pixel_statistics import PixelStatistics
from zf_lightning.data.shards.chunk_file import ChunkFile
from zf_lightning.data.shards.chunk_store import ChunkStore
from zf_lightning.data.shards.encoding import decode_sample, image_bytes
from zf_lightning.data.shards.layout import Samples
from zf_lightning.data.shards.order import windowed_order
from zf_lightning.data.sources.base import LabelledImages, SampleKey
from zf_lightning.data.sources.file_names import FileNames

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
        statistics: of these samples, if they are known.
    """

    def __init__(
        self,
        store: ChunkStore,
        samples: Samples,
        *,
        format: str,
        window: int,
        statistics: PixelStatistics | None = None,
    ) -> None:
        self.labels = samples.labels.astype(numpy.int64)
        self.names = FileNames(map(os.fsdecode, samples.names.tolist()))
        self._chunks, self._rows = samples.chunks, samples.rows
        self._samples = samples
        self.store = store
        self._format = format
        self._window = window
        self._open: OrderedDict[int, ChunkFile] = OrderedDict()
        #: Of these samples, so that no pass over them is needed; None if not known.
        self.known_statistics = statistics

    def __getitem__(self, key: SampleKey | int) -> tuple[Tensor, int, int, float]:
        """Image uint8 `[3, 256, 256]`, label, index in this split, weight.

        Raises UserError, naming the chunk, if it is missing or damaged.
        """
        if not isinstance(key, SampleKey):
            key = SampleKey(range(len(self))[key])
        chunk, row = self.place(key.index)
        image = decode_sample(self._chunk(chunk)[row], format=self._format)
        return image, int(self.labels[key.index]), key.index, key.weight

    def place(self, index: int) -> tuple[int, int]:
        """Chunk of a sample, and its place there."""
        return int(self._chunks[index]), int(self._rows[index])

    def encoded(self, index: int) -> bytes:
        """A sample's image as it is stored: a JPEG, or pixels."""
        chunk, row = self.place(index)
        return image_bytes(self._chunk(chunk)[row])

    def training_order(self, generator: numpy.random.Generator) -> NDArray[numpy.int64]:
        """A permutation in which neighbours come from about `window` chunks."""
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
        places = hashlib.sha256(self._chunks.tobytes() + self._rows.tobytes())
        places.update(str(self._window).encode())
        return int.from_bytes(places.digest()[:4], "little") + 1

    def sample_key(self, index: int) -> bytes:
        """Chunk, its checksum, and the place in it."""
        number = int(self._chunks[index])
        place = f"{self.store.chunks[number].sha256} {self._rows[index]}\n"
        return place.encode()

    def subset(self, indices: Sequence[int] | NDArray[numpy.int64]) -> Self:
        """Some of the samples, in the order of `indices`; their statistics are not known."""
        return type(self)(
            self.store,
            self._samples.subset(indices),
            format=self._format,
            window=self._window,
        )

    def _chunk(self, number: int) -> ChunkFile:
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        chunk = self.store.open(number)
        self._open[number] = chunk
        # A file that was evicted from the disk takes its room until it is no longer mapped.
        if len(self._open) > self._window + _SPARE_CHUNKS:
            self._open.popitem(last=False)
        return chunk

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}
