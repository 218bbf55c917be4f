"""One chunk in memory: its samples by their places."""

import mmap
from pathlib import Path

import numpy

from zf_lightning.data.shards.layout import Chunk
from zf_lightning.errors import UserError

#: A chunk begins with the number of its samples, and with where each begins and the last ends.
_WORD = 4


class ChunkFile:
    """A chunk mapped into memory; samples are read where they lie.

    LitData's own reader maps one chunk at a time and was made for reading one after another: with
    samples of eight chunks mixed it takes twenty times as long for a sample (`benchmarks/data.py`).

    Raises:
        UserError: the file does not hold what the index says.
    """

    def __init__(self, path: Path, chunk: Chunk) -> None:
        with path.open("rb") as opened:
            self._memory = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        size = len(self._memory)
        count = int.from_bytes(self._memory[:_WORD], "little")
        if count != chunk.samples:
            raise UserError(
                f"{path} holds {count} samples, but its index.json says {chunk.samples}; prepare "
                "the shards again, or copy both anew."
            )
        self._offsets = numpy.frombuffer(self._memory[_WORD : (count + 2) * _WORD], "<u4").tolist()
        if self._offsets != sorted(self._offsets) or self._offsets[-1] > size:
            raise UserError(f"{path} is damaged: its table of samples makes no sense.")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> bytes:
        """The bytes of one sample, as LitData's writer encoded it."""
        return self._memory[self._offsets[row] : self._offsets[row + 1]]
