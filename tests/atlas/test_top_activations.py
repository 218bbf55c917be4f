"""The k strongest images of each feature map, against sorting a list."""

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zf_lightning.atlas import KeptImages, TopActivations, TopImages
from zf_lightning.errors import UserError

#: A state that was merged or loaded is as good as one that was updated.
pytestmark = pytest.mark.filterwarnings("ignore:The ``compute`` method.*was called before")

#: Few values, so that there are many ties; 0 and -0 are equal.
VALUES = st.sampled_from(
    [0.0, -0.0, 1.0, -1.0, 2.0, 2.0 + 2**-20, 1e-45, math.inf, -math.inf, math.nan]
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, int]:
    """Feature maps `[N, C, H, W]`, dataset indices `[N]` with repetitions, valid `[N]`, and k."""
    number, channels = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    height, width = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    size = number * channels * height * width
    numbers = draw(st.lists(VALUES, min_size=size, max_size=size))
    indices = draw(
        st.lists(st.sampled_from([0, 1, 2, 3, 7, 2**40]), min_size=number, max_size=number)
    )
    valid = draw(
        st.lists(st.sampled_from([True, True, True, False]), min_size=number, max_size=number)
    )
    maps = torch.tensor(numbers).view(number, channels, height, width)
    return maps, torch.tensor(indices), torch.tensor(valid), draw(st.integers(1, 4))


def cut(draw: Any, number: int) -> list[list[int]]:
    """The numbers below `number`, shuffled and cut into batches."""
    order = draw(st.permutations(range(number)))
    batches: list[list[int]] = [[]]
    for place in order:
        if batches[-1] and draw(st.booleans()):
            batches.append([])
        batches[-1].append(place)
    return batches


def by_sorting(maps: Tensor, indices: Tensor, valid: Tensor, k: int) -> list[list[tuple]]:
    """For each feature map `(activation, index, row, column)` of the k strongest images."""
    found = []
    for channel in range(maps.shape[1]):
        best: dict[int, tuple] = {}
        for image in range(len(maps)):
            for row in range(maps.shape[2]):
                for column in range(maps.shape[3]):
                    value = float(maps[image, channel, row, column])
                    if not valid[image] or math.isnan(value):
                        continue
                    index = int(indices[image])
                    entry = (-value, index, row, column)
                    best[index] = min(best.get(index, entry), entry)
        ordered = sorted(best.values())[:k]
        found.append([(-value, *rest) for value, *rest in ordered])
    return found


def as_lists(top: TopImages) -> list[list[tuple]]:
    columns = (top.activations, top.indices, top.rows, top.columns)
    return [
        [
            entry
            for entry in zip(*(column[row].tolist() for column in columns), strict=True)
            if entry[1] >= 0
        ]
        for row in range(len(top.indices))
    ]


def fed(
    batches: list[list[int]], maps: Tensor, indices: Tensor, valid: Tensor, k: int
) -> TopActivations:
    metric = TopActivations({"layer": maps.shape[1]}, k=k)
    for batch in batches:
        metric.update({"layer": maps[batch]}, indices[batch], valid[batch])
    return metric


def state(metric: TopActivations) -> dict[str, Tensor]:
    return {name: getattr(metric, name) for name in metric._defaults}


def same_state(first: TopActivations, second: TopActivations) -> bool:
    states = state(first), state(second)
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@settings(deadline=None, max_examples=150)
@given(streams(), st.data())
def test_equals_sorting_however_it_is_cut(stream: tuple, data: st.DataObject) -> None:
    maps, indices, valid, k = stream
    metric = fed(cut(data.draw, len(maps)), *stream)
    top = metric.compute()["layer"]
    assert as_lists(top) == by_sorting(maps, indices, valid, k)
    assert top.nans.tolist() == maps[valid].isnan().any(3).any(2).sum(0).tolist()
    assert top.activations.shape == (maps.shape[1], k)
    assert (top.activations[~top.present] == -math.inf).all()
    assert same_state(metric, fed([list(range(len(maps)))], *stream)), "bit by bit"


@settings(deadline=None, max_examples=60)
@given(streams(), st.integers(1, 3), st.data())
def test_processes_and_interruption_change_nothing(
    stream: tuple, processes: int, data: st.DataObject
) -> None:
    maps = stream[0]
    batches = cut(data.draw, len(maps))
    alone = fed(batches, *stream)
    parts = [fed(batches[rank::processes], *stream) for rank in range(processes)]
    # As gathered over processes by torchmetrics.
    gathered = {
        id(value): [state(part)[name] for part in parts] for name, value in state(parts[0]).items()
    }
    synced = parts[0]
    with synced.sync_context(
        dist_sync_fn=lambda value, group: gathered[id(value)], distributed_available=lambda: True
    ):
        assert same_state(synced, alone)
        expected = as_lists(alone.compute()["layer"])
    # As merged by hand, in another order.
    merged = fed([], *stream)
    for part in reversed(parts):
        merged.merge_state(part)
    assert as_lists(merged.compute()["layer"]) == expected
    # Interrupted, and gone on with.
    resumed = fed([], *stream)
    resumed.load_state_dict(fed(batches[:1], *stream).state_dict())
    for batch in batches[1:]:
        resumed.update({"layer": maps[batch]}, stream[1][batch], stream[2][batch])
    assert same_state(resumed, alone)


def test_order_is_value_then_index_then_position() -> None:
    maps = torch.zeros(4, 1, 2, 2)
    maps[0, 0, 1, 0] = maps[0, 0, 1, 1] = 2
    maps[1, 0, 0, 1] = 2
    maps[2, 0, 1, 1] = 3
    top = fed([[3, 0], [2, 1]], maps, torch.tensor([9, 4, 20, 1]), torch.ones(4).bool(), 9)
    found = as_lists(top.compute()["layer"])[0]
    # The last one is a feature map that nothing excites: it is kept, with activation 0.
    assert found == [(3, 20, 1, 1), (2, 4, 0, 1), (2, 9, 1, 0), (0, 1, 0, 0)]


def test_an_image_that_is_all_nan_is_no_winner_and_is_counted() -> None:
    maps = torch.full((3, 2, 2, 2), math.nan)
    maps[1, 0, 1, 0] = -5
    top = fed([[0, 1, 2]], maps, torch.arange(3), torch.tensor([True, True, False]), 2)
    found = top.compute()["layer"]
    assert as_lists(found) == [[(-5, 1, 1, 0)], []]
    assert found.nans.tolist() == [2, 2]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels_last", [False, True])
def test_any_floating_type_is_compared_as_float32(dtype: torch.dtype, channels_last: bool) -> None:
    maps = torch.randn(20, 3, 5, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    if channels_last:
        maps = maps.to(memory_format=torch.channels_last)
    valid, indices = torch.ones(20).bool(), torch.arange(20)
    top = fed([list(range(10)), list(range(10, 20))], maps, indices, valid, 5)
    found = top.compute()["layer"]
    assert found.activations.dtype == torch.float32
    assert as_lists(found) == by_sorting(maps.float(), indices, valid, 5)


def test_several_layers_of_maps_and_of_vectors() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = {
        "features.0": torch.randn(6, 3, 4, 4, generator=generator),
        "features_0": torch.randn(6, 2, generator=generator),
    }
    metric = TopActivations({"features.0": 3, "features_0": 2}, k=2)
    metric.update({**outputs, "unwatched": torch.zeros(1)}, torch.arange(6))
    top = metric.compute()
    assert top["features_0"].indices[:, 0].tolist() == outputs["features_0"].argmax(0).tolist()
    assert not top["features_0"].rows.any()
    assert (
        top["features.0"].activations[:, 0].tolist()
        == outputs["features.0"].amax((0, 2, 3)).tolist()
    )
    metric.reset()
    assert not metric.compute()["features.0"].present.any()


def test_state_does_not_grow() -> None:
    metric = TopActivations({"layer": 4}, k=3)

    def held() -> int:
        return sum(value.numel() * value.element_size() for value in state(metric).values())

    before = held()
    for start in range(0, 200, 10):
        metric.update({"layer": torch.randn(10, 4, 2, 2)}, torch.arange(start, start + 10))
    assert held() == before == 4 * 3 * 4 * 8 + 4 * 8


def test_a_long_stream_is_held_in_bounded_memory() -> None:
    maps, images, size, k = 6, 1_300_000, 20_000, 9
    metric, kept = TopActivations({"layer": maps}, k=k), KeptImages()
    before = sum(value.numel() * value.element_size() for value in state(metric).values())
    generator = torch.Generator().manual_seed(0)
    whole = torch.empty(images, maps)
    for start in range(0, images, size):
        batch = whole[start : start + size]
        # The second half of the maps grows all the time: every batch brings new top images.
        batch[:] = torch.rand(size, maps, generator=generator)
        batch[:, maps // 2 :] += start
        indices = torch.arange(start, start + size)
        metric.update({"layer": batch}, indices)
        kept.update(indices[:, None].to(torch.int32), indices, metric.top_indices())
        assert len(kept) <= maps * k
    after = sum(value.numel() * value.element_size() for value in state(metric).values())
    assert after == before == maps * k * 4 * 8 + maps * 8
    found = metric.compute()["layer"]
    assert torch.equal(found.activations, whole.topk(k, dim=0).values.T)
    top = found.indices.flatten().unique().tolist()
    assert len(kept) == len(top) and kept.images(top)[:, 0].tolist() == top


def test_works_across_inference_mode() -> None:
    maps, indices = torch.randn(8, 2, 3, 3), torch.arange(8)
    metric = TopActivations({"layer": 2}, k=3)
    with torch.inference_mode():
        metric.reset()
        metric.update({"layer": maps[:4]}, indices[:4])
    metric.update({"layer": maps[4:]}, indices[4:])
    assert as_lists(metric.compute()["layer"]) == by_sorting(maps, indices, torch.ones(8).bool(), 3)


def test_wrong_arguments() -> None:
    metric = TopActivations({"layer": 2}, k=3)
    with pytest.raises(UserError, match="layer: 4 images × 2 maps expected, not nothing"):
        metric.update({}, torch.arange(4))
    with pytest.raises(UserError, match=r"not \[4, 3, 1, 1\]"):
        metric.update({"layer": torch.zeros(4, 3, 1, 1)}, torch.arange(4))
    with pytest.raises(UserError, match="index is negative"):
        metric.update({"layer": torch.zeros(4, 2, 1, 1)}, torch.arange(4) - 1)
    # Samples that pad the batch may have any.
    metric.update({"layer": torch.zeros(4, 2)}, torch.arange(4) - 1, torch.arange(4) > 0)
    with pytest.raises(UserError, match="k=0"):
        TopActivations({"layer": 2}, k=0)


def _stream() -> tuple[Tensor, Tensor, Tensor, int]:
    generator = torch.Generator().manual_seed(3)
    maps = torch.randint(-2, 3, (24, 5, 3, 3), generator=generator).float()
    maps[maps == -2] = math.nan
    # 22 images; the last two are the first ones again, as a sampler pads them.
    indices = torch.tensor([*range(22), 0, 1])
    maps[22:] = maps[:2]
    return maps, indices, torch.ones(24).bool(), 4


def _process(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world
    )
    places = list(range(24))
    random.Random(0).shuffle(places)
    metric = fed([places[rank::world][:5], places[rank::world][5:]], *_stream())
    torch.save(as_lists(metric.compute()["layer"]), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


# In the ordinary suite by a run on two devices: tests/commands/test_as_typed.py.
@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
def test_several_processes(world: int, tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_process, (world, str(tmp_path)), nprocs=world)
    expected = by_sorting(*_stream())
    for rank in range(world):
        assert torch.load(tmp_path / f"{rank}.pt") == expected


def test_kept_images_of_several_processes_are_joined() -> None:
    parts = [KeptImages(), KeptImages()]
    for place, kept in enumerate(parts):
        indices = torch.arange(place, 8, 2)
        kept.update(indices[:, None].float(), indices, indices[1:], 10 * indices)
    joined = KeptImages()
    for kept in parts:
        joined.load_state_dict(kept.state_dict())
        joined.retain(torch.tensor([2, 3, 6, -1]))
    assert joined.state_dict()["indices"].tolist() == [2, 3, 6]
    assert joined.images([6, 3])[:, 0].tolist() == [6, 3] and joined.labels([2]).tolist() == [20]
