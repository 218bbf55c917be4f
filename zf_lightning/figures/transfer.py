"""Accuracy over layers (Table 7) and over the number of training images (Fig. 9)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: Okabe and Ito's colours, told apart by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class Line:
    """One line of a plot: places on the axis, accuracies in percent, and their spreads."""

    name: str
    places: tuple[str | int, ...]
    means: tuple[float, ...]
    spreads: tuple[float | None, ...]
    #: The paper's own figures: hollow and dashed.
    published: bool = False


def accuracy_by_layer(lines: Sequence[Line], path: Path) -> None:
    """Draw accuracies over layers, from the input to the output, into a PNG."""
    layers = list(dict.fromkeys(place for line in lines for place in line.places))
    figure = Figure(figsize=(max(6.0, 1.2 + 0.75 * len(layers)), 4.4), layout="constrained")
    axes = figure.subplots()
    for number, line in enumerate(lines):
        _plot(axes, line, [float(layers.index(place)) for place in line.places], number)
    axes.set_xticks(range(len(layers)), [str(layer) for layer in layers], rotation=30, ha="right")
    axes.set_xlabel("layer")
    _finish(figure, axes, path)


def accuracy_by_images(lines: Sequence[Line], path: Path) -> None:
    """Draw accuracies over the number of training images of each class into a PNG."""
    figure = Figure(figsize=(7.0, 4.6), layout="constrained")
    axes = figure.subplots()
    for number, line in enumerate(lines):
        _plot(axes, line, [float(place) for place in line.places], number)
    axes.set_xticks(sorted({int(place) for line in lines for place in line.places}))
    axes.set_xlim(left=0)
    axes.set_xlabel("training images of each class")
    _finish(figure, axes, path)


def _plot(axes: Axes, line: Line, places: list[float], number: int) -> None:
    colour = COLOURS[number % len(COLOURS)]
    axes.errorbar(
        places,
        line.means,
        yerr=[spread or 0.0 for spread in line.spreads],
        color=colour,
        marker=MARKERS[number % len(MARKERS)],
        markerfacecolor="white" if line.published else colour,
        linestyle="--" if line.published else "-",
        capsize=3,
        label=line.name,
    )


def _finish(figure: Figure, axes: Axes, path: Path) -> None:
    axes.set_ylabel("mean accuracy of the classes (%)")
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    FigureCanvasAgg(figure).print_png(str(path))
