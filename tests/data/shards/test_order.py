"""Orders: permutations that read few chunks at a time, and still mix."""

import numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from zf_lightning.data.shards.dataset import windowed_order


def chunks_of(chunks: int, each: int) -> numpy.ndarray:
    return numpy.repeat(numpy.arange(chunks, dtype=numpy.int32), each)


@settings(deadline=None)
@given(
    chunks=st.integers(1, 40),
    each=st.integers(1, 30),
    window=st.integers(1, 50),
    seed=st.integers(0, 99),
)
def test_each_sample_comes_once_and_each_chunk_leaves_the_window(
    chunks: int, each: int, window: int, seed: int
) -> None:
    lying = chunks_of(chunks, each)
    order = windowed_order(lying, window=window, generator=numpy.random.default_rng(seed))
    assert sorted(order.tolist()) == list(range(chunks * each))
    if chunks > window:
        # While the first chunk of a pair is in use, no other is begun `window` or more turns later.
        met = lying[order]
        firsts = {chunk: numpy.flatnonzero(met == chunk)[0] for chunk in range(chunks)}
        lasts = {chunk: numpy.flatnonzero(met == chunk)[-1] for chunk in range(chunks)}
        for place in firsts.values():
            in_use = sum(firsts[chunk] <= place <= lasts[chunk] for chunk in firsts)
            assert in_use <= window + 1


def test_the_order_is_decided_by_the_generator() -> None:
    lying = chunks_of(20, 50)
    orders = [
        windowed_order(lying, window=4, generator=numpy.random.default_rng(seed)).tolist()
        for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]


def test_a_batch_mixes_the_chunks_of_the_window() -> None:
    lying = chunks_of(50, 100)
    order = windowed_order(lying, window=8, generator=numpy.random.default_rng(0))
    batches = lying[order].reshape(-1, 100)
    # In the middle of the epoch; at its ends the window fills and empties.
    assert min(len(set(batch.tolist())) for batch in batches[10:-10]) >= 7
    assert max(len(set(batch.tolist())) for batch in batches) <= 11
