"""The rows of a table of errors as dot plots (Table 3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zf_lightning.figures.style import LARGE_FONT_SIZE, new_figure, plain_axes, series_style

#: Inches: a panel without its labels, a series within a row, and what is above and below the rows.
PANEL_WIDTH, SERIES_HEIGHT, MARGINS = 4.5, 0.2, 1.3
LETTER_WIDTH = 0.095
Interval = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """Values of one kind, one for each row; NaN where there is none.

    `intervals` are drawn as bars, NaN where there is none.
    """

    name: str
    values: Sequence[float]
    intervals: Sequence[Interval] | None = None
    #: The same quantity as others published it, drawn hollow on the same line.
    published: Sequence[float] | None = None


@dataclass(frozen=True)
class Panel:
    """A quantity, named at its axis, and what is shown of it."""

    quantity: str
    series: Sequence[Series]


def comparison_figure(labels: Sequence[str], panels: Sequence[Panel]) -> Figure:
    """A line for each label, from above; side by side a panel for each quantity."""
    width = PANEL_WIDTH * len(panels) + LETTER_WIDTH * max(map(len, labels), default=0)
    row = 0.16 + SERIES_HEIGHT * max(len(panel.series) for panel in panels)
    figure = new_figure(width, MARGINS + row * len(labels))
    columns = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    for axes, panel in zip(columns, panels, strict=True):
        _draw(axes, panel, len(labels))
    columns[0].set_yticks(np.arange(len(labels)), labels, fontsize=LARGE_FONT_SIZE)
    columns[0].set_ylim(len(labels) - 0.5, -0.5)
    return figure


def _draw(axes: Axes, panel: Panel, rows: int) -> None:
    plain_axes(axes, panel.quantity, font_size=LARGE_FONT_SIZE)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    for row in range(rows - 1):
        axes.axhline(row + 0.5, color="0.9", linewidth=0.8, zorder=0)
    own, published = [], []
    for number, series in enumerate(panel.series):
        # One below another within their row, so that none hides another.
        places = np.arange(rows) + 0.62 * ((number + 0.5) / len(panel.series) - 0.5)
        values = np.asarray(series.values, float)
        bars = None
        if series.intervals is not None:
            bars = np.abs(np.asarray(series.intervals, float).T - values)
        style = series_style(number) | {"linestyle": "none", "markersize": 6}
        label = series.name
        own.append(
            axes.errorbar(values, places, xerr=bars, capsize=3, lw=1.3, label=label, **style)
        )
        if series.published is not None:
            style |= {"markerfacecolor": "none", "markersize": 7, "zorder": 3}
            published += axes.plot(series.published, places, label="in the paper", **style)
        else:
            # Keeps the second column of the legend beside the first.
            published += axes.plot([], [], linestyle="none", label=" ")
    if axes.get_xlim()[0] < 0:
        axes.axvline(0, color="0.4", linewidth=0.8, zorder=0)
    else:
        axes.set_xlim(left=0)
    axes.legend(
        handles=own if all(s.published is None for s in panel.series) else own + published,
        frameon=False,
        fontsize=LARGE_FONT_SIZE - 1,
        ncols=2,
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        borderaxespad=0.2,
    )
