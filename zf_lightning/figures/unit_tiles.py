"""Units in columns: what each saw, its projections one below another, and a number or two."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zf_lightning.figures.canvas import (
    FAINT_INK,
    HATCH,
    INK,
    MARGIN,
    as_pixels,
    fit_text,
    font,
    resized,
    sheet,
    text_width,
    to_display,
)
from zf_lightning.figures.grid import projection_scale, tile_size

GAP, LINE = 10, 20


def unit_tiles(
    patches: NDArray[np.uint8],
    rows: Sequence[tuple[str, NDArray[np.floating]]],
    inside: NDArray[np.bool_],
    captions: Sequence[Sequence[str]],
    *,
    title: str,
    subtitle: str = "",
) -> Image.Image:
    """Draw U units in columns: their captions, patches, and a row for each kind of projection.

    Each projection has its own scale, on which zero is mid grey.

    Args:
        patches: `[U, 3, h, w]` RGB.
        rows: names, and projections `[U, 3, h, w]` in any unit.
        inside: `[U, h, w]`, False beyond the image's border: grey.
        captions: lines above each unit, the same number for all.
    """
    size = tile_size(patches.shape[2], patches.shape[3])
    names = ["image", *(name for name, _ in rows)]
    label = max(text_width(name, 15) for name in names) + GAP
    width = max(size[1], *(text_width(line, 14) for line in captions[0])) if captions else size[1]
    head = LINE * (len(captions[0]) if captions else 0) + 4
    picture, draw, top = sheet(
        label + len(patches) * (width + GAP),
        head + len(names) * (size[0] + GAP),
        title=title,
        subtitle=subtitle,
    )
    for row, name in enumerate(names):
        middle = top + head + row * (size[0] + GAP) + size[0] // 2
        draw.text((MARGIN, middle), name, fill=INK, font=font(15), anchor="lm")
    for unit, lines in enumerate(captions):
        left = MARGIN + label + unit * (width + GAP)
        for place, line in enumerate(lines):
            ink = FAINT_INK if place else INK
            text = fit_text(line, 14, width)
            draw.text((left, top + place * LINE), text, fill=ink, font=font(14))
        seen = inside[unit][..., None]
        tiles = [as_pixels(patches[unit])]
        for _, projections in rows:
            scale = projection_scale(projections[unit][None], inside[unit][None])
            tiles.append(to_display(as_pixels(projections[unit]), scale=scale))
        for row, tile in enumerate(tiles):
            shown = resized(np.where(seen, tile, HATCH[0]).astype(np.uint8), size)
            above = top + head + row * (size[0] + GAP)
            picture.paste(Image.fromarray(shown), (left, above))
    return picture
