"""The result of a run: `result.json`, and the lines that a person reads at its end."""

import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zf_lightning import paper
from zf_lightning.results import metric_names as names
from zf_lightning.system.sealed import write_json

if TYPE_CHECKING:
    import lightning

#: Metrics that count something; what is logged is a float.
COUNTS = re.compile(r"\w+/(images|bad_files)(_\w+)?")


def paper_values(model: str, ablations: list[str]) -> dict[str, Any] | None:
    """The paper's row of Table 3 for a network, or None."""
    row = paper.table_3(model, ablations[0]) if len(ablations) == 1 else None
    if row is None:
        return None
    return {
        "table": "Table 3",
        "row": row.row,
        "note": "errors in percent on ImageNet 2012, full width; other runs do not compare",
        names.TRAIN_TOP1: row.train_top1_error,
        names.VAL_TOP1: row.val_top1_error,
        names.VAL_TOP5: row.val_top5_error,
    }


def write_result(folder: Path, result: dict[str, Any]) -> Path:
    """Write `result.json`, whole or not at all.

    Counts are whole numbers, and a float32 is the shortest decimal that stands for it. NaN and
    infinity, which JSON does not have, are null; `not_finite` then says what they were, by name.
    `result` is changed to what the file holds.
    """
    not_finite: dict[str, str] = {}
    contents = _plain(result, "", not_finite)
    if not_finite:
        contents["not_finite"] = not_finite
    result.clear()
    result.update(contents)
    return write_json(folder / "result.json", contents)


def counted(number: int, noun: str) -> str:
    """`1 epoch`, `2 epochs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def error_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Top-1 and top-5 error of the test, with one crop and with ten, as text."""
    return [
        f"  {words:<10} {shown_errors(metrics, 'test', suffix, noun=' error')}"
        for words, suffix in (("one crop", ""), ("ten crops", names.TENCROP))
    ]


def shown_errors(values: Mapping[str, Any], split: str, suffix: str = "", *, noun: str = "") -> str:
    """Top-1 and top-5 error as people read them everywhere: measured ones with two decimals.

    The paper's have the digits that it prints. Of at most 5 `classes` there is no top-5 error.
    """
    digits = "" if "table" in values else ".2f"
    kinds = ("top1", "top5") if values.get("classes", 1000) > 5 else ("top1",)
    shown = []
    for kind in kinds:
        error = values[f"{split}/{kind}_error{suffix}"]
        known = error is not None and math.isfinite(error)
        number = f"{error:{digits}} %" if known else "not a number"
        shown.append(f"{kind[:-1]}-{kind[-1]}{noun} {number}")
    return ", ".join(shown)


def check_count(
    trainer: "lightning.Trainer", counted: float, expected: int, *, bad: float = 0, loader: int = 0
) -> None:
    """A test must have counted each image once, unless `trainer.limit_test_batches` cut it short.

    `bad` is the number of files that could not be read, and were allowed for; `loader` says which
    of several data loaders delivered the images.
    Raises RuntimeError otherwise: the metrics would be wrong.
    """
    loaders = trainer.test_dataloaders
    assert loaders is not None
    batches = len(loaders[loader] if isinstance(loaders, list) else loaders)
    complete = trainer.num_test_batches[loader] == batches
    if complete and int(counted + bad) != expected:
        raise RuntimeError(f"The test counted {int(counted)} images, and there are {expected}.")


def _plain(value: Any, name: str, not_finite: dict[str, str]) -> Any:
    """A value of a result as JSON has it; `name` is its key, after those of what it is in."""
    if isinstance(value, dict):
        return {
            key: _plain(inner, f"{name}.{key}".lstrip("."), not_finite)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(inner, f"{name}[{n}]", not_finite) for n, inner in enumerate(value)]
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        not_finite[name] = str(value)
        return None
    if COUNTS.fullmatch(name) and value.is_integer():
        return int(value)
    return _shortest(value)


def _shortest(value: float) -> float:
    """The decimal with the fewest digits that is the same float32, if `value` is one."""

    def float32(number: float) -> float:
        try:
            return float(struct.unpack("f", struct.pack("f", number))[0])
        except OverflowError:
            return math.inf

    if value.is_integer() or float32(value) != value:
        return value
    candidates = (float(f"{value:.{digits}g}") for digits in range(1, 10))
    return next(decimal for decimal in candidates if float32(decimal) == value)
