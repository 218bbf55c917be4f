"""The figures of a run: `result.json`, and the lines that a person reads at its end."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zf_lightning import paper
from zf_lightning.results import metric_names as names

if TYPE_CHECKING:
    import lightning


def paper_figures(model: str, ablations: list[str]) -> dict[str, Any] | None:
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
    """Write `result.json`, whole or not at all."""
    path = folder / "result.json"
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(result, indent=2) + "\n")
    unfinished.rename(path)
    return path


def error_lines(figures: dict[str, float]) -> list[str]:
    """Top-1 and top-5 error, with one crop and with ten, as text."""
    lines = []
    for words, top1_name, top5_name in (
        ("one crop", names.TEST_TOP1, names.TEST_TOP5),
        ("ten crops", names.TEST_TOP1_TENCROP, names.TEST_TOP5_TENCROP),
    ):
        top1, top5 = figures[top1_name], figures[top5_name]
        lines.append(f"  {words:<10} top-1 error {top1:6.2f} %   top-5 error {top5:6.2f} %")
    return lines


def check_count(
    trainer: "lightning.Trainer", counted: float, expected: int, *, bad: float = 0, loader: int = 0
) -> None:
    """A test must have counted each image once, unless `trainer.limit_test_batches` cut it short.

    `bad` is the number of files that could not be read, and were allowed for; `loader` says which
    of several data loaders delivered the images.
    Raises RuntimeError otherwise: the figures would be wrong.
    """
    loaders = trainer.test_dataloaders
    assert loaders is not None
    batches = len(loaders[loader] if isinstance(loaders, list) else loaders)
    complete = trainer.num_test_batches[loader] == batches
    if complete and int(counted + bad) != expected:
        raise RuntimeError(f"The test counted {int(counted)} images, and there are {expected}.")
