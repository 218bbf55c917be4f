"""Training orders that shuffle well and still read only a few chunks at a time."""

import numpy
from numpy.typing import NDArray


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
