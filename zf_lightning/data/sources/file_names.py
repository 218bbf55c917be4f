"""Many file names in little memory."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy


class FileNames(Sequence[str]):
    """A sequence of names, kept as one array of bytes.

    A list of the 1.3 million names of ImageNet is as many objects, whose reference counts a worker
    process touches, so that each worker comes to have a copy of them all.

    Names are bytes to the file system: those that are not UTF-8 come out as `os.fsdecode` has them.
    """

    def __init__(self, names: Iterable[str]) -> None:
        encoded = [os.fsencode(name) for name in names]
        lengths = numpy.fromiter((len(name) for name in encoded), numpy.int64, len(encoded))
        self._ends = numpy.cumsum(lengths)
        self._bytes = numpy.frombuffer(b"".join(encoded), dtype=numpy.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        return os.fsdecode(self.encoded(index))

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FileNames):
            return NotImplemented
        return numpy.array_equal(self._ends, other._ends) and numpy.array_equal(
            self._bytes, other._bytes
        )

    def __hash__(self) -> int:
        return hash((len(self), self._bytes[:1000].tobytes()))

    def encoded(self, index: int) -> bytes:
        """The name as the file system has it."""
        number = range(len(self))[index]
        start = self._ends[number - 1] if number else 0
        return self._bytes[start : self._ends[number]].tobytes()
