"""Every sample once, the same number of batches everywhere, the mean of the true samples."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zf_lightning.data.sampler import EpochSampler


def deal(
    length: int, batch_size: int, processes: int, *, shuffle: bool = True, epoch: int = 0
) -> list[EpochSampler]:
    samplers = [
        EpochSampler(
            length, batch_size=batch_size, rank=rank, processes=processes, shuffle=shuffle, seed=5
        )
        for rank in range(processes)
    ]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    return samplers


@settings(deadline=None)
@given(
    length=st.integers(1, 300),
    each=st.integers(1, 20),
    processes=st.integers(1, 5),
    shuffle=st.booleans(),
)
def test_each_sample_counts_once(length: int, each: int, processes: int, shuffle: bool) -> None:
    dealt = [list(s) for s in deal(length, each * processes, processes, shuffle=shuffle)]
    assert len({len(keys) for keys in dealt}) == 1
    assert len(dealt[0]) == len(deal(length, each * processes, processes)[0])
    counted = [key.index for keys in dealt for key in keys if key.weight > 0]
    assert sorted(counted) == list(range(length))


@settings(deadline=None)
@given(length=st.integers(1, 200), each=st.integers(1, 8), processes=st.integers(1, 4))
def test_weighted_means_over_processes_are_the_batchs_mean(
    length: int, each: int, processes: int
) -> None:
    losses = torch.rand(length, dtype=torch.float64, generator=torch.manual_seed(length))
    order = [key.index for key in deal(length, each * processes, 1)[0]]
    dealt = [list(s) for s in deal(length, each * processes, processes)]
    for number in range(-(-length // (each * processes))):
        means = []
        for keys in dealt:
            batch = keys[number * each : (number + 1) * each]
            weighted = [losses[key.index] * key.weight for key in batch]
            means.append(torch.stack(weighted).mean())
        members = order[number * each * processes : (number + 1) * each * processes]
        torch.testing.assert_close(torch.stack(means).mean(), losses[members].mean())


@pytest.mark.parametrize("processes", [2, 3])
def test_a_global_batch_is_the_same_on_any_number_of_processes(processes: int) -> None:
    alone = [key.index for key in deal(100, 12, 1)[0]]
    dealt = [list(s) for s in deal(100, 12, processes)]
    each = 12 // processes
    for number in range(100 // 12):
        together = {
            key.index for keys in dealt for key in keys[number * each : (number + 1) * each]
        }
        assert together == set(alone[number * 12 : (number + 1) * 12])


def test_epochs_have_orders_of_their_own() -> None:
    orders = [[key.index for key in deal(50, 10, 1, epoch=epoch)[0]] for epoch in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1]
    steady = [
        [key.index for key in deal(50, 10, 1, shuffle=False, epoch=epoch)[0]] for epoch in (0, 3)
    ]
    assert steady[0] == steady[1]
    # Of five classes of ten, which lie one after another, a batch of ten meets more than two.
    assert len({index // 10 for index in steady[0][:10]}) > 2


def test_a_part_is_the_same_for_every_seed_and_spread_over_the_split() -> None:
    def part(seed: int, processes: int = 1) -> list[int]:
        samplers = [
            EpochSampler(
                600,
                batch_size=6,
                rank=rank,
                processes=processes,
                shuffle=False,
                seed=seed,
                at_most=50,
            )
            for rank in range(processes)
        ]
        assert all(len(list(sampler)) == len(sampler) for sampler in samplers)
        return [key.index for sampler in samplers for key in sampler if key.weight > 0]

    assert len(part(0)) == len(set(part(0))) == 50
    assert part(0) != part(1) and sorted(part(0)) == sorted(part(1)) == sorted(part(2, 3))
    thirds = [index // 200 for index in part(0)]
    assert min(map(thirds.count, range(3))) > 5
    whole = EpochSampler(60, batch_size=6, shuffle=False, at_most=100)
    assert sorted(key.index for key in whole) == list(range(60))
