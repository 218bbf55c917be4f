"""The curves of `metrics.csv` as a drawing."""

import csv
import io
from pathlib import Path

#: Panels of the drawing: title, unit, and the columns with their names.
PANELS = (
    (
        "error",
        "%",
        (("train/top1_error", "training (random crops)"), ("val/top1_error", "validation")),
    ),
    ("loss", "nats", (("train/loss", "training"), ("val/loss", "validation"))),
    ("learning rate", "", (("train/learning_rate", "learning rate"),)),
)
#: Okabe and Ito's colours, told apart by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00")


def draw_curves(metrics: Path) -> str:
    """Error, loss and learning rate over the steps, as an SVG element.

    Empty if there is nothing to draw yet.
    """
    if not metrics.exists():
        return ""
    with metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    # Imported here: a training run begins without it.
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.2), layout="constrained")
    drawn = False
    for axes, (title, unit, columns) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        for (column, name), colour in zip(columns, COLOURS, strict=False):
            points = [(int(r["step"]), float(r[column])) for r in rows if r.get(column)]
            if points:
                drawn = True
                few = "o" if len(points) < 40 else None
                axes.plot(*zip(*points, strict=True), color=colour, label=name, marker=few, ms=3)
        axes.set_title(f"{title} ({unit})" if unit else title, loc="left", fontsize=11)
        axes.set_xlabel("step")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylim(bottom=0)
        if len(columns) > 1 and axes.lines:
            axes.legend(frameon=False, fontsize=9)
    if not drawn:
        return ""
    text = io.StringIO()
    # Without a date the same metrics give the same page.
    FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]
