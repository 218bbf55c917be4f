"""The panel of a layer as in Fig. 2: image patches beside the projections of their units."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from zf_lightning.figures.canvas import (
    EMPTY,
    FAINT_INK,
    INK,
    MARGIN,
    as_pixels,
    fit_text,
    font,
    hatching,
    resized,
    sheet,
    text_width,
    to_display,
)

SMALLEST_TILE, LARGEST_TILE = 56, 96
#: Between tiles, between patches and projections, between feature maps.
HAIRLINE, GUTTER, GAP = 2, 8, 28
CAPTION_HEIGHT = 44
#: Share of a feature map's projected values that the grey scale covers; the few beyond are cut off.
COVERED = 0.97

Parts = Literal["both", "patches", "projections"]


def layer_panel(
    patches: NDArray[np.uint8],
    projections: NDArray[np.floating],
    inside: NDArray[np.bool_],
    activations: NDArray[np.floating],
    *,
    feature_maps: Sequence[int],
    captions: Sequence[str] | None = None,
    title: str = "",
    subtitle: str = "",
    parts: Parts = "both",
    columns: int | None = None,
    tile: int | None = None,
) -> Image.Image:
    """Draw M feature maps, each as a block of its k patches beside the k projections.

    The k projections of a feature map share one scale, on which zero is mid grey. A tile stays
    empty where fewer than k images excite the feature map (activation 0) or were seen (-inf).

    Args:
        patches: `[M, k, 3, h, w]` RGB.
        projections: `[M, k, 3, h, w]`, in any unit.
        inside: `[M, k, h, w]`, False beyond the image's border: hatched.
        activations: `[M, k]`, strongest first.
        feature_maps: the number of each.
        captions: a second line for each, such as its class.
        title, subtitle: stand above the panel.
        parts: which blocks to draw.
        columns: feature maps side by side; chosen for a landscape picture if None.
        tile: height and width of a tile in pixels; chosen to be legible if None.
    """
    number = len(feature_maps)
    assert patches.shape[:2] == projections.shape[:2] == activations.shape, "one tile, one unit"
    assert len(activations) == number and (captions is None or len(captions) == number)
    per_side = tiles_per_side(patches.shape[1])
    size = (tile, tile) if tile else tile_size(patches.shape[3], patches.shape[4])
    block = tuple(per_side * side + (per_side - 1) * HAIRLINE for side in size)
    cell_width = block[1] * (2 if parts == "both" else 1) + (GUTTER if parts == "both" else 0)
    cell_height = CAPTION_HEIGHT + block[0]
    columns = columns or _balanced_columns(number, cell_width + GAP, cell_height + GAP)
    rows = math.ceil(number / columns)
    across = max(1, min(columns, number))
    width = across * cell_width + (across - 1) * GAP
    height = rows * cell_height + max(0, rows - 1) * GAP
    picture, draw, top = sheet(width, height, title=title, subtitle=subtitle)
    for place, feature_map in enumerate(feature_maps):
        left = MARGIN + place % columns * (cell_width + GAP)
        above = top + place // columns * (cell_height + GAP)
        _draw_caption(
            draw,
            (left, above),
            f"map {feature_map}",
            activations[place],
            captions[place] if captions else "",
            cell_width,
        )
        _draw_map(
            picture,
            patches[place],
            projections[place],
            inside[place],
            activations[place],
            (left, above + CAPTION_HEIGHT),
            size,
            parts,
        )
    return picture


def map_picture(
    patches: NDArray[np.uint8],
    projections: NDArray[np.floating],
    inside: NDArray[np.bool_],
    activations: NDArray[np.floating],
    size: tuple[int, int],
) -> Image.Image:
    """One feature map as `layer_panel` draws it, without words, on a transparent ground.

    Transparent is also what lies beyond an image's border, and a tile that stays empty.
    """
    per_side = tiles_per_side(len(patches))
    height, width = (per_side * side + (per_side - 1) * HAIRLINE for side in size)
    picture = Image.new("RGBA", (2 * width + GUTTER, height))
    _draw_map(picture, patches, projections, inside, activations, (0, 0), size, "both")
    return picture


def tiles_per_side(images: int) -> int:
    """How many of a feature map's images stand side by side in a block."""
    return max(1, math.ceil(math.sqrt(images)))


def tile_size(height: int, width: int, *, largest: int = LARGEST_TILE) -> tuple[int, int]:
    """Size at which a patch is drawn: small ones enlarged by a whole factor, large ones reduced."""
    factor = max(1, math.ceil(SMALLEST_TILE / max(height, width)))
    shrink = min(1.0, largest / (factor * max(height, width)))
    return max(1, round(factor * height * shrink)), max(1, round(factor * width * shrink))


def projection_scale(projections: NDArray[np.floating], inside: NDArray[np.bool_]) -> float:
    """The magnitude that is drawn black or white, common to projections `[k, 3, h, w]`."""
    magnitudes = np.abs(projections.astype(np.float64)).max(axis=1)[inside]
    magnitudes = magnitudes[np.isfinite(magnitudes) & (magnitudes > 0)]
    return float(np.quantile(magnitudes, COVERED)) if magnitudes.size else 0.0


def readable(value: float) -> str:
    """A number with three digits or, if it is large, with its thousands separated."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def class_caption(names: Sequence[str]) -> str:
    """The class that most of the images have, of equally frequent ones that of the strongest.

    Where every image is of another class, how many classes. Names are empty where the class of an
    image is not known; such images do not count.
    """
    known = [name for name in names if name]
    if not known:
        return ""
    name, count = Counter(known).most_common(1)[0]
    return f"{len(known)} classes" if count == 1 < len(known) else f"{name} {count} of {len(names)}"


def class_counts(names: Sequence[str]) -> str:
    """How many of the images are of each class, as `car 8, cat 1`; unknown ones do not count."""
    counts = Counter(name for name in names if name)
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def _draw_caption(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    name: str,
    activations: NDArray[np.floating],
    caption: str,
    width: int,
) -> None:
    strongest = activations[0] if len(activations) else -np.inf
    if np.isneginf(strongest):
        value = "no images"
    else:
        value = "dead" if strongest == 0 else readable(float(strongest))
    left, top = corner
    draw.text(corner, name, fill=INK, font=font(18))
    value = fit_text(value, 16, width - text_width(name, 18) - 12)
    draw.text((left + width, top + 2), value, fill=FAINT_INK, font=font(16), anchor="ra")
    draw.text((left, top + 22), fit_text(caption, 15, width), fill=FAINT_INK, font=font(15))


def _draw_map(
    picture: Image.Image,
    patches: NDArray[np.uint8],
    projections: NDArray[np.floating],
    inside: NDArray[np.bool_],
    activations: NDArray[np.floating],
    corner: tuple[int, int],
    size: tuple[int, int],
    parts: Parts,
) -> None:
    """Draw the blocks of one feature map, `[k, ...]`, side by side, strongest tile first."""
    blocks = []
    if parts != "projections":
        blocks.append(as_pixels(patches))
    if parts != "patches":
        scale = projection_scale(projections, inside)
        blocks.append(to_display(as_pixels(projections), scale=scale))
    per_side = tiles_per_side(len(patches))
    width = per_side * (size[1] + HAIRLINE) - HAIRLINE
    transparent = picture.mode == "RGBA"
    draw = ImageDraw.Draw(picture)
    hatch = hatching(size)
    for place, rank in itertools.product(range(len(blocks)), range(len(patches))):
        block = corner[0] + place * (width + GUTTER)
        left = block + rank % per_side * (size[1] + HAIRLINE)
        top = corner[1] + rank // per_side * (size[0] + HAIRLINE)
        if activations[rank] == 0 or np.isneginf(activations[rank]):
            if not transparent:
                draw.rectangle((left, top, left + size[1] - 1, top + size[0] - 1), fill=EMPTY)
            continue
        pixels, whole = blocks[place][rank], bool(inside[rank].all())
        shown = resized(pixels if whole else _continued(pixels, inside[rank]), size)
        if whole:
            visible = np.ones(size, bool)
        else:
            visible = resized(inside[rank].astype(np.uint8) * 255, size) >= 128
        if transparent:
            shown = np.dstack([shown, visible.astype(np.uint8) * 255])
        elif not whole:
            shown = np.where(visible[..., None], shown, hatch).astype(np.uint8)
        picture.paste(Image.fromarray(shown), (left, top))


def _continued(pixels: NDArray[np.uint8], inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A tile whose border pixels are repeated outwards, so that reducing does not darken them."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return pixels
    top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    beyond = ((top, len(pixels) - bottom), (left, pixels.shape[1] - right), (0, 0))
    return np.pad(pixels[top:bottom, left:right], beyond, mode="edge")


def _balanced_columns(number: int, width: int, height: int) -> int:
    """The number of cells side by side that brings the picture nearest to 3:2."""

    def distance(columns: int) -> tuple[float, int]:
        rows = math.ceil(number / columns)
        # Empty places at the end count as a fault too.
        return abs(math.log(columns * width / (rows * height) / 1.5)), rows * columns - number

    return min(range(1, number + 1), key=distance, default=1)
