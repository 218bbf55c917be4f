"""The curves of `metrics.csv` as a drawing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from zf_lightning.results import metric_names as names
from zf_lightning.results.metrics_file import read_rows

#: Panels of the drawing: title, unit, and the columns with their names.
PANELS = (
    (
        "error",
        "%",
        ((names.TRAIN_TOP1, "training (random crops)"), (names.VAL_TOP1, "validation")),
    ),
    ("loss", "nats", ((names.TRAIN_LOSS, "training"), (names.VAL_LOSS, "validation"))),
    ("learning rate", "", ((names.LEARNING_RATE, "learning rate"),)),
)


def draw_curves(metrics: Path) -> dict[str, str]:
    """Error, loss and learning rate over the epochs, each an SVG element; none without values."""
    rows = read_rows(metrics)
    if not rows:
        return {}
    # Imported here: a training run begins without matplotlib.
    from matplotlib.ticker import MaxNLocator

    from zf_lightning.figures.style import COLOURS, LARGE_FONT_SIZE, new_figure, plain_axes, to_svg

    # Before the first validation, how many steps an epoch has is not known.
    an_epoch = _steps_an_epoch(rows)
    drawings = {}
    for title, unit, columns in PANELS:
        # Drawn again after every epoch: with margins for six digits, a title and a label.
        figure = new_figure(4.6, 3.4, layout=None)
        axes = figure.add_axes((0.15, 0.15, 0.83, 0.76))
        for (column, name), colour in zip(columns, COLOURS, strict=False):
            points = [
                ((int(row["step"]) + 1) / (an_epoch or 1), float(row[column]))
                for row in rows
                if row.get(column)
            ]
            if points:
                few = "o" if len(points) < 40 else None
                axes.plot(*zip(*points, strict=True), color=colour, label=name, marker=few, ms=3)
        if not axes.lines:
            continue
        plain_axes(axes, "epoch" if an_epoch else "step", font_size=LARGE_FONT_SIZE)
        axes.set_title(f"{title} ({unit})" if unit else title, loc="left", fontsize=LARGE_FONT_SIZE)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        # Room for the mark of a value at the very top.
        axes.set_ylim(top=1.08 * axes.get_ylim()[1])
        if len(columns) > 1:
            axes.legend(frameon=False, fontsize=LARGE_FONT_SIZE - 1)
        drawings[title] = to_svg(figure)
    return drawings


def _steps_an_epoch(rows: Sequence[Mapping[str, str]]) -> float | None:
    """From the last validation, which is at the end of an epoch."""
    for row in reversed(rows):
        if row.get(names.VAL_LOSS) and int(row.get(names.EPOCH, 0)):
            return (int(row["step"]) + 1) / int(row[names.EPOCH])
    return None
