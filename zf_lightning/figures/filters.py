"""Contact sheets of first-layer filters (Fig. 6 a to c)."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zf_lightning.figures.canvas import MARGIN, resized, sheet, to_display

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
