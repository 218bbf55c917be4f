"""Feature maps in rows: the images that excite each most, beside those that depend on it most."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zf_lightning.figures.canvas import (
    FAINT_INK,
    INK,
    MARGIN,
    as_pixels,
    fit_text,
    font,
    resized,
    sheet,
    text_width,
)

TILE, HAIRLINE, GUTTER, GAP, LINE = 80, 2, 24, 12, 20


def ranked_images(
    rankings: Sequence[tuple[str, NDArray[np.uint8]]],
    captions: Sequence[Sequence[str]],
    *,
    title: str,
    subtitle: str = "",
) -> Image.Image:
    """Draw M feature maps below each other, and their rankings of images side by side.

    Args:
        rankings: names, and pictures `[M, k, 3, h, w]` RGB, the first of each map first.
        captions: lines beside each map; the first is its name.
    """
    label = max((text_width(line, 15) for lines in captions for line in lines), default=0) + GAP
    number = rankings[0][1].shape[1]
    block = number * (TILE + HAIRLINE) - HAIRLINE
    width = label + len(rankings) * (block + GUTTER) - GUTTER
    height = LINE + 6 + len(captions) * (TILE + GAP)
    picture, draw, top = sheet(width, height, title=title, subtitle=subtitle)
    for place, (name, pictures) in enumerate(rankings):
        left = MARGIN + label + place * (block + GUTTER)
        draw.text((left, top), fit_text(name, 15, block), fill=INK, font=font(15))
        for row, images in enumerate(pictures):
            above = top + LINE + 6 + row * (TILE + GAP)
            for column, pixels in enumerate(as_pixels(images)):
                tile = Image.fromarray(resized(pixels, (TILE, TILE)))
                picture.paste(tile, (left + column * (TILE + HAIRLINE), above))
    for row, lines in enumerate(captions):
        for place, line in enumerate(lines):
            ink = FAINT_INK if place else INK
            above = top + LINE + 6 + row * (TILE + GAP) + place * LINE
            draw.text((MARGIN, above), line, fill=ink, font=font(15))
    return picture
