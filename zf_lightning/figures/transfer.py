"""Accuracy over layers (Table 7) and over the number of training images (Fig. 9)."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from zf_lightning.figures.style import (
    LARGE_FONT_SIZE,
    new_figure,
    plain_axes,
    series_style,
    to_image,
)


@dataclass(frozen=True)
class Line:
    """One line of a plot: places on the axis, accuracies in percent, and their spreads."""

    name: str
    places: tuple[str | int, ...]
    means: tuple[float, ...]
    spreads: tuple[float | None, ...]
    #: The paper's own values: hollow and dashed.
    published: bool = False


def accuracy_by_layer(lines: Sequence[Line]) -> Image.Image:
    """Draw accuracies over layers, from the input to the output."""
    layers = list(dict.fromkeys(place for line in lines for place in line.places))
    positions = {layer: float(number) for number, layer in enumerate(layers)}
    return _draw(lines, positions, "layer", width=max(6.0, 1.2 + 0.75 * len(layers)))


def accuracy_by_images(lines: Sequence[Line]) -> Image.Image:
    """Draw accuracies over the number of training images of each class."""
    numbers = sorted({int(place) for line in lines for place in line.places})
    return _draw(
        lines, {number: float(number) for number in numbers}, "training images of each class"
    )


def _draw(
    lines: Sequence[Line], positions: dict[str | int, float], xlabel: str, *, width: float = 7.0
) -> Image.Image:
    figure = new_figure(width, 4.6)
    axes = figure.subplots()
    for number, line in enumerate(lines):
        axes.errorbar(
            [positions[place] for place in line.places],
            line.means,
            yerr=[spread or 0.0 for spread in line.spreads],
            capsize=3,
            label=line.name,
            **series_style(number, published=line.published),
        )
    plain_axes(axes, xlabel, "mean accuracy of the classes (%)", font_size=LARGE_FONT_SIZE)
    named = any(isinstance(place, str) for place in positions)
    axes.set_xticks(
        list(positions.values()),
        list(map(str, positions)),
        rotation=30 if named else 0,
        ha="right" if named else "center",
    )
    if not named:
        axes.set_xlim(left=0)
    axes.set_ylim(0, 100)
    axes.legend(frameon=False, fontsize=LARGE_FONT_SIZE - 2)
    return to_image(figure)
