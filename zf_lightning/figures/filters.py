"""First-layer filters: contact sheets (Fig. 6 a to c), and curves of sizes and frequencies."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image

from zf_lightning.figures.canvas import MARGIN, resized, sheet, to_display
from zf_lightning.figures.style import (
    COLOURS,
    FONT_SIZE,
    OTHER_COLOUR,
    new_figure,
    plain_axes,
    to_image,
)

SMALLEST_FILTER, SPACE = 56, 4


def filter_sheet(
    filters: NDArray[np.floating],
    *,
    title: str = "",
    subtitle: str = "",
    shared_scale: bool = False,
    columns: int | None = None,
) -> Image.Image:
    """Draw filters `[M, 3, h, w]`, or `[M, 1, h, w]` in grey, in reading order; zero is mid grey.

    Args:
        shared_scale: one scale for all, so that strong filters stand out (Fig. 6a), or each its
            own.
        columns: filters side by side; chosen for a landscape picture if None.
    """
    number, channels, *shape = filters.shape
    assert channels in (1, 3), "filters on colours or on grey pixels"
    factor = max(1, math.ceil(SMALLEST_FILTER / max(shape)))
    size = (factor * shape[0], factor * shape[1])
    columns = columns or max(1, math.ceil(math.sqrt(1.5 * number)))
    rows = math.ceil(number / columns)
    width = columns * (size[1] + SPACE) - SPACE
    height = max(0, rows * (size[0] + SPACE) - SPACE)
    picture, _, top = sheet(width, height, title=title, subtitle=subtitle)
    peaks = np.abs(np.nan_to_num(filters)).reshape(number, -1).max(axis=1, initial=0)
    for place, values in enumerate(filters):
        scale = float(peaks.max() if shared_scale else peaks[place])
        pixels = to_display(np.moveaxis(values, 0, -1), scale=scale)
        pixels = np.ascontiguousarray(np.broadcast_to(pixels, (*shape, 3)))
        left = MARGIN + place % columns * (size[1] + SPACE)
        above = top + place // columns * (size[0] + SPACE)
        picture.paste(Image.fromarray(resized(pixels, size)), (left, above))
    return picture


@dataclass(frozen=True)
class FilterStatistics:
    """One network's first layer."""

    name: str
    #: `[M]`: as they are, and scaled back to the limit.
    rms: NDArray[np.floating]
    renormalised_rms: NDArray[np.floating]
    #: Middle of each ring in cycles a pixel, and the mean share of the power in it.
    frequencies: NDArray[np.floating]
    radial: NDArray[np.floating]
    #: By band, and `aliased`: mean share of the power; and that of white noise.
    bands: Mapping[str, float]
    white_noise: Mapping[str, float]
    #: Vertical and horizontal step in pixels.
    stride: tuple[int, int]


def filter_statistics_figure(
    networks: Sequence[FilterStatistics], *, rms_limit: float
) -> Image.Image:
    """Draw the filters' RMS, their radial spectrum and the shares of bands, of each network."""
    figure = new_figure(12, 3.4)
    sizes, spectrum, bands = figure.subplots(1, 3)
    for network, colour in zip(networks, COLOURS, strict=False):
        place = np.linspace(0, 100, len(network.rms))
        label = network.name if len(networks) > 1 else "as learnt"
        sizes.plot(place, np.sort(network.rms)[::-1], color=colour, label=label)
        sizes.plot(
            place,
            np.sort(network.renormalised_rms)[::-1],
            color=colour,
            linestyle="--",
            label=f"{label}, scaled back to {rms_limit:g}",
        )
        spectrum.plot(
            network.frequencies, 100 * network.radial, color=colour, marker="o", ms=3, label=label
        )
        spectrum.axvline(0.5 / max(network.stride), color=colour, linestyle=":", linewidth=1)
    plain_axes(sizes, "filters, strongest first (%)", "RMS of the weights")
    sizes.set_title("size of the filters", fontsize=FONT_SIZE)
    sizes.set_ylim(bottom=0)
    sizes.legend(fontsize=FONT_SIZE - 1, frameon=False)
    plain_axes(spectrum, "radial frequency (cycles a pixel)", "share of the power (%)")
    spectrum.set_title("spectrum; dotted: what the stride can carry", fontsize=FONT_SIZE)
    spectrum.set_ylim(bottom=0)
    spectrum.set_xlim(0, 0.5)
    _draw_bands(bands, networks)
    return to_image(figure)


def _draw_bands(axes: Axes, networks: Sequence[FilterStatistics]) -> None:
    names = list(networks[0].bands)
    bars = [
        (network.name, network.bands, colour)
        for network, colour in zip(networks, COLOURS, strict=False)
    ]
    bars.append(("white noise", networks[0].white_noise, OTHER_COLOUR))
    width = 0.8 / len(bars)
    for number, (name, shares, colour) in enumerate(bars):
        places = np.arange(len(names)) + (number - (len(bars) - 1) / 2) * width
        axes.bar(places, [100 * shares[band] for band in names], width, color=colour, label=name)
    plain_axes(axes, "", "share of the power (%)")
    labels = {"low": "low\n< 1/8", "mid": "mid\n1/8 to 1/4", "high": "high\n> 1/4"}
    axes.set_xticks(np.arange(len(names)), [labels.get(name, name) for name in names])
    axes.set_title("bands (cycles a pixel)", fontsize=FONT_SIZE)
    axes.legend(fontsize=FONT_SIZE - 1, frameon=False)
