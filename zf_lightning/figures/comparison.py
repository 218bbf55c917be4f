"""The rows of a table of errors as a plot (Table 3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

#: Okabe and Ito's colours, told apart by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
MARKERS = ("o", "s", "D", "^")


@dataclass(frozen=True)
class Series:
    """Values of one kind, one for each row; NaN where there is none.

    `deviations` are drawn as bars; `hollow` distinguishes figures of others.
    """

    name: str
    values: Sequence[float]
    deviations: Sequence[float] | None = None
    hollow: bool = False


def comparison_plot(
    labels: Sequence[str], panels: Sequence[tuple[str, Sequence[Series]]], *, title: str = ""
) -> Image.Image:
    """A dot plot: a line for each label, from above; side by side a panel for each quantity.

    Args:
        labels: names of the rows.
        panels: the axis label of each panel and what it shows.
        title: above the plot, wrapped to its width.
    """
    width = 5.2 * len(panels) + 0.075 * max(map(len, labels), default=0)
    height = 1.9 + 0.42 * len(labels) + (0.5 if title else 0)
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    columns = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    places = np.arange(len(labels), dtype=float)
    for axes, (quantity, series) in zip(columns, panels, strict=True):
        for number, one in enumerate(series):
            # Side by side within the line of their row, so that none hides another.
            offset = 0.0 if len(series) < 2 else 0.36 * (number / (len(series) - 1) - 0.5)
            colour = COLOURS[number % len(COLOURS)]
            axes.errorbar(
                np.asarray(one.values, float),
                places + offset,
                xerr=None if one.deviations is None else np.asarray(one.deviations, float),
                fmt=MARKERS[number % len(MARKERS)],
                color=colour,
                markerfacecolor="white" if one.hollow else colour,
                markersize=6,
                capsize=3,
                label=one.name,
            )
        axes.set_xlabel(quantity)
        axes.grid(axis="x", alpha=0.25)
        axes.axhline(-0.5, color="none")
        axes.spines[["top", "right"]].set_visible(False)
        for place in places[:-1]:
            axes.axhline(place + 0.5, color="0.92", linewidth=0.8, zorder=0)
        if len(series) > 1:
            axes.legend(
                frameon=False, fontsize=9, ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0)
            )
        if np.nanmin([0.0, *(v for s in series for v in s.values)]) < 0:
            axes.axvline(0, color="0.4", linewidth=0.8, zorder=0)
    columns[0].set_yticks(places, labels)
    columns[0].set_ylim(len(labels) - 0.5, -0.5)
    if title:
        figure.suptitle(title, fontsize=11, x=0.01, ha="left", wrap=True)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
