"""The distribution of every feature map's activations, against sorting a list."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.atlas.test_top_activations import cut, streams
from zf_lightning.atlas import ActivationSurvey, Survey
from zf_lightning.atlas.survey import BUCKETS, bucket_limits, bucket_of

#: A state that was merged or loaded is as good as one that was updated.
pytestmark = pytest.mark.filterwarnings("ignore:The ``compute`` method.*was called before")


def strongest(maps: Tensor, index: int, channel: int) -> tuple[float, int, int] | None:
    """Of one image and feature map: the strongest activation and where it is first."""
    found = [
        (-float(value), row, column)
        for row, line in enumerate(maps[index, channel].tolist())
        for column, value in enumerate(line)
        if not math.isnan(value)
    ]
    if not found:
        return None
    value, row, column = min(found)
    return -value, row, column


def surveyed(survey: ActivationSurvey) -> tuple[Any, ...]:
    found = survey.compute()
    one = found.distributions["a"]
    examples = one.examples
    assert found.indices is not None
    return (
        one.counts.tolist(),
        *(getattr(examples, name).tolist() for name in ("indices", "rows", "columns")),
        examples.activations.tolist(),
        found.indices.tolist(),
        # NaN differs from itself.
        found.values["a"].nan_to_num(-7.5).tolist(),
    )


@given(streams(), st.data())
@settings(max_examples=60, deadline=None)
def test_equals_a_loop_however_it_is_cut(stream: tuple, data: st.DataObject) -> None:
    maps, _, valid, k = stream
    number, channels = maps.shape[:2]
    indices = torch.arange(number) * 3
    whole = ActivationSurvey({"a": channels}, k=k, keep_values=True)
    whole.update({"a": maps}, indices, valid)
    parts = [ActivationSurvey({"a": channels}, k=k, keep_values=True) for _ in range(2)]
    for batch in cut(data.draw, number):
        part = parts[data.draw(st.integers(0, 1))]
        part.update({"a": maps[batch]}, indices[batch], valid[batch])
    merged = parts[0]
    reductions: dict[str, Any] = {**merged._reductions}
    for name, reduce in reductions.items():
        pair = [getattr(part, name) for part in parts]
        if isinstance(pair[0], list):
            setattr(merged, name, [torch.cat(pair[0] + pair[1])])
        else:
            setattr(merged, name, reduce(torch.stack(pair)))
    assert surveyed(merged) == surveyed(whole)
    found = whole.compute().distributions["a"]
    for channel in range(channels):
        values = {
            3 * image: one
            for image in range(number)
            if valid[image] and (one := strongest(maps, image, channel)) is not None
        }
        assert int(found.images[channel]) == len(values)
        above = sum(value > 0 for value, *_ in values.values())
        assert float(found.excited[channel]) == above / max(1, len(values))
        expected: dict[int, list[tuple[int, float, int, int]]] = {}
        for index, one in sorted(values.items()):
            expected.setdefault(int(bucket_of(torch.tensor(one[0]))), []).append((index, *one))
        taken = found.counts[channel].nonzero()[:, 0].tolist()
        assert taken == sorted(expected)
        columns = (found.examples.activations, found.examples.rows, found.examples.columns)
        for bucket, inside in expected.items():
            assert int(found.counts[channel, bucket]) == len(inside)
            place = (channel, bucket)
            example = (int(found.examples.indices[place]), *(float(one[place]) for one in columns))
            assert example == inside[0], "the image with the smallest index"


def test_a_value_lies_within_its_bucket() -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = torch.rand(4000, generator=generator) * 40 - 20
    values = torch.cat([2.0**sizes, -(2.0**sizes), torch.tensor([0.0, -0.0, 1.0, math.inf])])
    for value, bucket in zip(values.tolist(), bucket_of(values).tolist(), strict=True):
        low, high = bucket_limits(bucket)
        if value > 0:
            assert low <= value < high or value == high == math.inf
            assert low == 0 or high == math.inf or high / low <= 1.125
        elif value < 0:
            assert low < value <= high
        else:
            assert low == high == 0
    # They sort as their values do.
    ordered = values.sort().values
    assert (bucket_of(ordered).diff() >= 0).all()
    limits = [bucket_limits(bucket) for bucket in range(BUCKETS)]
    assert all(one[1] == other[0] for one, other in itertools.pairwise(limits))


@pytest.fixture
def found() -> Iterator[Survey]:
    """Of 1,000 images whose activations are 0, 1, … 999 in two maps, the other way round in one."""
    survey = ActivationSurvey({"a": 2}, k=2)
    values = torch.randperm(1000, generator=torch.Generator().manual_seed(1)).float()
    maps = torch.stack([values, 999 - values], 1)
    for start in range(0, 1000, 64):
        some = slice(start, start + 64)
        survey.update({"a": maps[some]}, torch.arange(1000)[some])
    yield survey.compute()


def test_examples_of_quantiles_are_near_them(found: Survey) -> None:
    one = found.distributions["a"]
    quantiles = (0.001, 0.5, 0.9, 0.99, 0.999, 1.0)
    examples = one.at_quantiles(quantiles)
    for channel in range(2):
        for quantile, value in zip(quantiles, examples.activations[channel].tolist(), strict=True):
            # The exact one, of values that are 0 to 999.
            exact = round(1000 * quantile) - 1
            assert exact / 1.125 <= value <= exact * 1.125
    assert one.excited.tolist() == [0.999, 0.999]
    assert found.top["a"].activations[0].tolist() == [999.0, 998.0]
    histogram = one.histogram(0)
    assert sum(number for *_, number in histogram) == 1000
    assert histogram[0] == (0.0, 0.0, 1) and histogram[-1] == (960.0, 1024.0, 40)
    assert found.indices is None and not found.values


def test_a_map_that_no_image_has_given_a_number() -> None:
    survey = ActivationSurvey({"a": 1}, k=1)
    survey.update({"a": torch.full((2, 1, 2, 2), torch.nan)}, torch.arange(2))
    one = survey.compute().distributions["a"]
    assert one.images.tolist() == [0] and one.excited.tolist() == [0.0]
    examples = one.at_quantiles((0.5,))
    assert examples.indices.tolist() == [[-1]] and one.histogram(0) == []
