"""The file of a run's result."""

import json
import math
from pathlib import Path
from typing import Any

import numpy
import pytest

from zf_lightning.results.result import counted, write_result


def written(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    text = write_result(folder, result).read_text()
    contents = json.loads(text, parse_constant=refuse)
    assert isinstance(contents, dict) and contents.pop("checksum")
    return contents


def test_a_float32_is_its_shortest_decimal_and_counts_are_whole(tmp_path: Path) -> None:
    result = {
        "test/top1_error": float(numpy.float32(5.6)),
        "test/loss": float(numpy.float32(1e-20)),
        "test/images": 512.0,
        "val/bad_files_tencrop": 3.0,
        "val/top1_error": 12.0,
        "accuracy": 250 / 3,
        "large": 62_357_608.0,
        "parameters": 62_357_608,
        "stalled": False,
        "layers": {"conv1": {"mean": float(numpy.float32(0.1)), "places": (1.5, None)}},
    }
    contents = written(tmp_path, result)
    assert contents == result, "what a task returns is what the file holds"
    assert contents == {
        **result,
        "test/top1_error": 5.6,
        "test/loss": 1e-20,
        "layers": {"conv1": {"mean": 0.1, "places": [1.5, None]}},
    }
    assert isinstance(contents["test/images"], int) and isinstance(contents["stalled"], bool)
    assert isinstance(contents["val/bad_files_tencrop"], int)
    assert isinstance(contents["val/top1_error"], float)


@pytest.mark.parametrize("value", [math.pi, float(numpy.float32(1 / 3)), 1e300, -0.0, 5e-324])
def test_no_other_number_is_changed(value: float, tmp_path: Path) -> None:
    stored = written(tmp_path, {"x": value})["x"]
    assert stored == value or numpy.float32(stored) == numpy.float32(value)
    assert stored == pytest.approx(value, rel=1e-7)


def test_what_is_not_finite_is_null_with_a_note(tmp_path: Path) -> None:
    contents = written(tmp_path, {"test/loss": math.nan, "layers": [{"rms": -math.inf}], "x": 1.5})
    assert contents["test/loss"] is None and contents["layers"] == [{"rms": None}]
    assert contents["not_finite"] == {"test/loss": "nan", "layers[0].rms": "-inf"}
    assert "not_finite" not in written(tmp_path, {"x": 1.5})


def test_one_is_not_several() -> None:
    assert [counted(number, "epoch") for number in (1, 0, 1200)] == [
        "1 epoch",
        "0 epochs",
        "1,200 epochs",
    ]
