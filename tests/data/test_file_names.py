"""Names as arrays: a sequence like any other, small and quick to copy."""

import os
import pickle
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zf_lightning.data import LabelledFiles
from zf_lightning.data.sources.base import FileNames


@given(st.lists(st.binary(min_size=0, max_size=12)), st.integers(-15, 15), st.integers(-15, 15))
def test_it_is_the_list_of_its_names(encoded: list[bytes], start: int, stop: int) -> None:
    expected = [os.fsdecode(name) for name in encoded]
    names = FileNames(expected)
    assert list(names) == expected and len(names) == len(expected)
    assert names[start:stop] == expected[start:stop]
    assert [names[i] for i in range(-len(names), len(names))] == expected + expected
    assert names == FileNames(expected) and names != FileNames([*expected, "more"])
    assert names != expected
    with pytest.raises(IndexError):
        names[len(names)]


def test_imagenets_names_are_small_and_quick_to_copy() -> None:
    count = 1_300_000
    names = (f"train/n{i % 1000:08}/n{i % 1000:08}_{i}.JPEG" for i in range(count))
    files = LabelledFiles(Path("imagenet"), FileNames(names), numpy.arange(count))
    # 39 bytes of name, 8 of its end and 8 of its label: three arrays, no object for each name.
    copied = pickle.dumps(files, protocol=pickle.HIGHEST_PROTOCOL)
    assert len(copied) < 60 * count
    assert all(isinstance(each, numpy.ndarray) for each in vars(files.names).values())
    again = pickle.loads(copied)
    assert again.names[1_234_567] == "train/n00000567/n00000567_1234567.JPEG"
    assert again.path(0) == Path("imagenet/train/n00000000/n00000000_0.JPEG")


def test_a_subset_keeps_names_and_labels_together(tmp_path: Path) -> None:
    files = LabelledFiles(tmp_path, ["a", "b", "c"], [0, 1, 2]).subset([2, 0])
    assert list(files.names) == ["c", "a"] and files.labels.tolist() == [2, 0]
