"""Tables as files, and scores beside the paper's figures."""

import csv
import json
import math
from pathlib import Path

from zf_lightning.analysis.transfer import Score
from zf_lightning.results.tables import Cell, Column, Table, Value
from zf_lightning.tasks.transfer.tables import (
    FROM_SCRATCH,
    WHOLE_NETWORK,
    Frozen,
    build_tables,
    plot_lines,
)


def test_a_table_is_the_same_in_every_form(tmp_path: Path) -> None:
    rows: tuple[tuple[Cell, ...], ...] = (("a, b", 1.23456789, None), ("c", 2.0, 7))
    table = Table("errors", "Errors", ("who", "error", "count"), rows, ("A note.",))
    table.write(tmp_path)
    with (tmp_path / "errors.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["who", "error", "count"],
            ["a, b", "1.2346", ""],
            ["c", "2.0", "7"],
        ]
    contents = json.loads((tmp_path / "errors.json").read_text())
    assert contents["rows"][0] == {"who": "a, b", "error": 1.2346, "count": None}
    assert (tmp_path / "errors.md").read_text() == (
        "Errors\n\n| who | error | count |\n| :-- | --: | --: |\n"
        "| a, b | 1.2 |  |\n| c | 2.0 | 7 |\n\nA note.\n"
    )
    assert table.lines() == ["who   error  count", "a, b    1.2", "c       2.0      7"]


def test_columns_say_how_they_are_read() -> None:
    table = Table(
        "errors",
        "Errors",
        (
            "who",
            Column("top1", "top-1", "with ten crops", decimals=2),
            Column("delta", "Δ", "with ten crops", signed=True, missing="–"),
            Column("seed", hidden=True),
        ),
        (
            ("a", Value.of([1.0, 3.0]), None, 1),
            ("b", Value(12.25, mark="†"), 0.5, 2),
            ("c", math.nan, -math.inf, 3),
        ),
    )
    assert table.lines() == [
        "       with ten crops",
        "who        top-1     Δ",
        "a    2.00 ± 1.41     –",
        "b         12.25†  +0.5",
        "c                 -inf",
    ]
    names, rows = table.values()
    assert names == ["who", "top1", "top1_std", "delta", "seed"]
    assert rows[0] == ["a", 2.0, 1.4142, None, 1] and rows[2] == ["c", None, None, None, 3]
    assert json.loads(table.json())["rows"][2] == dict(zip(names, rows[2], strict=True))
    assert table.markdown().splitlines()[2] == "| who | with ten crops top-1 | with ten crops Δ |"


def score(layer: str, classifier: str, per_class: int, fold: int, accuracy: float) -> Score:
    return Score(layer, classifier, per_class, fold, accuracy, None, 1.0, True, 1, 1)


def test_the_papers_figures_stand_beside_the_rows_they_are_of() -> None:
    scores = [
        score(layer, classifier, per_class, fold, 50.0 + fold)
        for layer in ("conv1", "conv5", "fc6", "fc7")
        for classifier in ("softmax", "svm")
        for per_class in (15, 30)
        for fold in range(3)
    ]
    scores += [score(FROM_SCRATCH, WHOLE_NETWORK, 30, fold, 40.0) for fold in range(3)]
    reading = Frozen("zfnet", scores, {s.layer: s.layer for s in scores[:-3]}, {})
    accuracy, comparison = build_tables(scores, reading, data="caltech101", class_names=())
    names, values = accuracy.values()
    rows = [dict(zip(names, row, strict=True)) for row in values]
    found = {(r["layer"], r["classifier"], r["images a class"]): r for r in rows}
    assert found["conv1", "svm", 30]["paper"] == 44.8
    assert found["conv1", "svm", 15]["paper"] is None
    assert found["conv1", "softmax", 30]["paper"] is None
    assert found["fc6", "svm", 30]["paper"] is None
    assert found["fc7", "softmax", 30]["paper's row"] == "Table 7, softmax (7)"
    assert found["fc7", "softmax", 15]["paper"] == 83.8
    assert found[FROM_SCRATCH, WHOLE_NETWORK, 30]["paper"] == 46.5
    assert found["conv5", "svm", 15]["accuracy"] == 51.0
    assert found["conv5", "svm", 15]["accuracy_std"] == 1.0
    assert found["conv1", "svm", 30]["paper_std"] == 0.7
    lines = {row[0]: row for row in comparison.rows}
    assert lines["ours, from scratch"] == ("ours, from scratch", None, Value(40.0, 0.0))
    assert lines["paper: non-pretrained convnet"][1:] == (Value(22.8, 1.5), Value(46.5, 1.7))

    by_layer, by_images = plot_lines(scores, reading, data="caltech101")
    drawn = {line.name: line for line in by_layer}
    assert drawn["svm, 30 images a class"].places == ("conv1", "conv5", "fc6", "fc7")
    assert drawn["paper, svm"].places == ("conv1", "conv5", "fc7")
    assert [line.name for line in by_images if not line.published] == [
        "softmax on fc7",
        "svm on fc7",
        FROM_SCRATCH,
    ]


def test_other_data_has_no_figures_of_the_paper() -> None:
    scores = [score("conv1", "svm", 30, 0, 50.0)]
    reading = Frozen("zfnet", scores, {"conv1": "conv1"}, {"conv1": 12})
    (table,) = build_tables(scores, reading, data="embedded", class_names=())
    assert table.rows[0][-2:] == (None, None)
    assert table.headings[-1] == "folds"
