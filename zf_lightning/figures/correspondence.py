"""Masked images as in Fig. 8, and the values of Table 1 beside them."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image

from zf_lightning.figures.canvas import as_pixels
from zf_lightning.figures.style import (
    FONT_SIZE,
    new_figure,
    plain_axes,
    series_style,
    shortened,
    show_pixels,
    to_image,
)

#: As many images as the paper shows.
IMAGES_SHOWN = 5
TILE, CHART = 1.15, 3.6


def correspondence_figure(
    pictures: NDArray[np.uint8],
    masked: Mapping[str, NDArray[np.uint8]],
    values: Mapping[str, Mapping[str, tuple[float, float]]],
) -> Image.Image:
    """Draw the first five images with each part hidden, and the sign change of each part.

    Args:
        pictures: `[N, 3, H, W]`.
        masked: by part, the last one random places, `[N, 3, H, W]`.
        values: by layer and part: Delta and its spread.
    """
    shown = min(len(pictures), IMAGES_SHOWN)
    columns = {"original": pictures, **masked}
    figure = new_figure(TILE * len(columns) + CHART, TILE * shown + 0.6)
    halves = figure.subfigures(1, 2, width_ratios=(TILE * len(columns), CHART), squeeze=False)
    left, right = halves[0]
    grid = left.subplots(shown, len(columns), squeeze=False)
    for column, (name, of_part) in enumerate(columns.items()):
        for row in range(shown):
            title = shortened(name.replace("_", " "), 16) if row == 0 else ""
            show_pixels(grid[row][column], as_pixels(of_part[row]), title)
    axes = right.subplots()
    _draw_values(axes, list(masked), values)
    return to_image(figure)


def _draw_values(
    axes: Axes, parts: Sequence[str], values: Mapping[str, Mapping[str, tuple[float, float]]]
) -> None:
    places = np.arange(len(parts))
    width = 0.7 / max(1, len(values))
    for number, (layer, of_layer) in enumerate(values.items()):
        means = [of_layer[part][0] for part in parts]
        spreads = [of_layer[part][1] for part in parts]
        axes.errorbar(
            places + (number - (len(values) - 1) / 2) * width,
            means,
            yerr=spreads,
            capsize=3,
            markersize=5,
            label=layer,
            **series_style(number) | {"linestyle": "none"},
        )
    plain_axes(axes, "", "mean feature sign change Δ (lower: more alike)")
    names = [shortened(part.replace("_", " "), 16) for part in parts]
    axes.set_xticks(places, names, rotation=30, ha="right", fontsize=FONT_SIZE)
    axes.set_xlim(-0.6, len(parts) - 0.4)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=FONT_SIZE, frameon=False, loc="lower right")
    axes.set_title("mean ± standard deviation over pairs of images", fontsize=FONT_SIZE)
