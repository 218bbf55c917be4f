"""Pairs of pictures that are thought to be the same, for a person to judge."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zf_lightning.figures.canvas import (
    FAINT_INK,
    MARGIN,
    fit_text,
    font,
    resized,
    sheet,
)

TILE, GAP, CAPTION = 128, 16, 20
#: Pairs side by side.
COLUMNS = 4


def pair_sheet(
    pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8], str]],
    *,
    title: str,
    subtitle: str = "",
) -> Image.Image:
    """A sheet of pairs: two pictures `[H, W, 3]` side by side, and a caption below them."""
    columns = max(1, min(COLUMNS, len(pairs)))
    rows = -(-len(pairs) // columns)
    width, height = columns * (2 * TILE + GAP) - GAP, rows * (TILE + CAPTION + GAP) - GAP
    picture, draw, top = sheet(width, height, title=title, subtitle=subtitle)
    for number, (first, second, caption) in enumerate(pairs):
        left = MARGIN + number % columns * (2 * TILE + GAP)
        upper = top + number // columns * (TILE + CAPTION + GAP)
        for place, pixels in enumerate((first, second)):
            tile = Image.fromarray(resized(pixels, (TILE, TILE)))
            picture.paste(tile, (left + place * TILE, upper))
        text = fit_text(caption, 12, 2 * TILE)
        draw.text((left, upper + TILE + 3), text, fill=FAINT_INK, font=font(12))
    return picture
