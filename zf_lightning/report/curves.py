"""The curves of `metrics.csv` as plain data, which `curves.html` draws as SVG.

Not by matplotlib, which takes 0.3 s to draw them: they are drawn again after every epoch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zf_lightning.results import metric_names as names
from zf_lightning.results.metrics_file import read_rows

#: Panels of the drawing: title, and the columns with their names.
PANELS = (
    (
        "error (%)",
        ((names.TRAIN_TOP1, "training (random crops)"), (names.VAL_TOP1, "validation")),
    ),
    ("loss (nats)", ((names.TRAIN_LOSS, "training"), (names.VAL_LOSS, "validation"))),
    ("learning rate", ((names.LEARNING_RATE, "learning rate"),)),
)
#: What of a panel is for its curves; `curves.html` draws around it.
LEFT, TOP, RIGHT, BOTTOM = 52, 48, 448, 292
BOX = {"left": LEFT, "top": TOP, "right": RIGHT, "bottom": BOTTOM}
#: Of a line; of more, the lowest and the highest of each few are drawn.
MOST_POINTS = 1000
Point = tuple[float, float]


@dataclass(frozen=True)
class Curves:
    """A panel: lines over the epochs, in pixels of the drawing."""

    title: str
    across: str
    #: Where on the axis, and the number that stands there.
    columns: tuple[tuple[float, str], ...]
    rows: tuple[tuple[float, str], ...]
    #: Name and points of each line; few are marked.
    lines: tuple[tuple[str, tuple[Point, ...], bool], ...]


def read_curves(metrics: Path) -> list[Curves]:
    """Error, loss and learning rate over the epochs; those of which there are values."""
    rows = read_rows(metrics)
    # Before the first validation, how many steps an epoch has is not known.
    an_epoch = _steps_an_epoch(rows)
    found = []
    for title, columns in PANELS:
        series = {
            name: [
                ((int(row["step"]) + 1) / (an_epoch or 1), float(row[column]))
                for row in rows
                if row.get(column) and math.isfinite(float(row[column]))
            ]
            for column, name in columns
        }
        if any(series.values()):
            found.append(_panel(title, "epoch" if an_epoch else "step", series))
    return found


def _panel(title: str, across: str, series: Mapping[str, Sequence[Point]]) -> Curves:
    points = [point for line in series.values() for point in line]
    right, top = (max(values) or 1.0 for values in zip(*points, strict=True))
    # Room for the mark of a value at the very top.
    top *= 1.08

    def place(x: float, y: float) -> Point:
        return (
            round(LEFT + (RIGHT - LEFT) * x / right, 1),
            round(BOTTOM - (BOTTOM - TOP) * y / top, 1),
        )

    return Curves(
        title,
        across,
        tuple((place(tick, 0)[0], f"{tick:,.0f}") for tick in _ticks(right, least=1)),
        tuple((place(0, tick)[1], f"{tick:.6g}") for tick in _ticks(top)),
        tuple(
            (name, tuple(place(*point) for point in _thinned(line)), len(line) < 40)
            for name, line in series.items()
        ),
    )


def _ticks(top: float, *, least: float = 0.0) -> list[float]:
    """Round numbers from 0 up to `top`, at most six of them, `least` or more apart."""
    power = 10.0 ** math.floor(math.log10(top / 5))
    step = next(max(one * power, least) for one in (1, 2, 5, 10) if 5 * one * power >= top)
    return [number * step for number in range(math.floor(top / step) + 1)]


def _thinned(line: Sequence[Point]) -> Sequence[Point]:
    if len(line) <= MOST_POINTS:
        return line
    few = math.ceil(2 * len(line) / MOST_POINTS)
    parts = [line[start : start + few] for start in range(0, len(line), few)]
    return [
        point
        for part in parts
        for point in sorted({extreme(part, key=lambda one: one[1]) for extreme in (min, max)})
    ]


def _steps_an_epoch(rows: Sequence[Mapping[str, str]]) -> float | None:
    """From the last validation, which is at the end of an epoch."""
    for row in reversed(rows):
        if row.get(names.VAL_LOSS) and int(row.get(names.EPOCH, 0)):
            return (int(row["step"]) + 1) / int(row[names.EPOCH])
    return None
