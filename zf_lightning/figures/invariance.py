"""Fig. 5: how features and the answer change while pictures are moved, enlarged, turned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zf_lightning.figures.canvas import as_pixels
from zf_lightning.figures.style import (
    COLOURS,
    FONT_SIZE,
    distinct,
    first_name,
    new_figure,
    plain_axes,
    series_style,
    shortened,
    show_pixels,
    to_image,
)

LINE_STYLES = ("-", "--", ":")


@dataclass(frozen=True)
class InvarianceRow:
    """One transformation at V values of N pictures."""

    transformation: str
    unit: str
    values: Sequence[float]
    #: By layer `[V, N]`, as shares of the untransformed features' norm.
    distances: Mapping[str, NDArray[np.floating]]
    #: `[V, N]`.
    probabilities: NDArray[np.floating]
    #: `[E, 3, H, W]` uint8 and their values: transformed pictures that show what was done.
    examples: NDArray[np.uint8]
    example_values: Sequence[float]


def invariance_figure(rows: Sequence[InvarianceRow], class_names: Sequence[str]) -> Image.Image:
    """Draw a row a transformation: pictures, distances in each layer, probability of the class.

    `class_names` are those of the N pictures.
    """
    layers = list(rows[0].distances)
    figure = new_figure(13, 2.5 * len(rows) + 0.3)
    width_ratios = (2.1, *[1.25] * len(layers), 1.25)
    panels = figure.subplots(
        len(rows), len(width_ratios), squeeze=False, gridspec_kw={"width_ratios": width_ratios}
    )
    names = distinct([shortened(first_name(name), 24) for name in class_names])
    for row, axes in zip(rows, panels, strict=True):
        xlabel = f"{row.transformation} ({row.unit})"
        axes[0].set_axis_off()
        count = len(row.examples)
        for place in range(count):
            inner = axes[0].inset_axes((place / count, 0.1, 0.94 / count, 0.8))
            value = f"{row.example_values[place]:g}"
            show_pixels(inner, as_pixels(row.examples[place]), value)
        axes[0].set_title(xlabel, fontsize=FONT_SIZE)
        for column, values in enumerate([*row.distances.values(), row.probabilities], 1):
            for number, name in enumerate(names):
                axes[column].plot(
                    row.values,
                    values[:, number],
                    markersize=3,
                    markevery=max(1, len(row.values) // 8),
                    linewidth=1.2,
                    label=name,
                    **series_style(number) | {"linestyle": LINE_STYLES[number // len(COLOURS) % 3]},
                )
            distance = column <= len(layers)
            plain_axes(axes[column], xlabel, "relative distance" if distance else "probability")
            title = shortened(layers[column - 1], 30) if distance else "probability of the class"
            axes[column].set_title(title, fontsize=FONT_SIZE)
            axes[column].set_ylim(0, None if distance else 1.02)
    handles, labels = panels[0][-1].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(names), 7),
        fontsize=FONT_SIZE,
        frameon=False,
    )
    return to_image(figure)
