"""Sheets of pictures: their colours and text, and values around zero as pixels (Pillow)."""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

PAPER = (255, 255, 255)
INK = (31, 35, 40)
FAINT_INK = (101, 109, 118)
EMPTY = (238, 239, 241)
#: The two greys of the hatching that stands for what lies beyond an image's border.
HATCH = (238, 214)
MARGIN = 24


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, so that a picture looks the same on every machine."""
    return ImageFont.load_default(size=size)


def text_width(text: str, size: int) -> int:
    """Width of a line of text in pixels."""
    return math.ceil(font(size).getlength(text))


def fit_text(text: str, size: int, width: int) -> str:
    """The text, or as much of its beginning as fits into `width` pixels and an ellipsis."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def sheet(
    width: int, height: int, *, title: str = "", subtitle: str = ""
) -> tuple[Image.Image, ImageDraw.ImageDraw, int]:
    """A sheet with a title, a line below it, and room for contents of a width and height.

    It is as wide as its text needs, so that no title is cut off. Returns the picture, what draws
    on it, and the first row of the contents; their first column is `MARGIN`.
    """
    inner = max(width, text_width(title, 26), text_width(subtitle, 16))
    below = MARGIN + (34 if title else 0)
    top = below + (24 if subtitle else 0) + (12 if title or subtitle else 0)
    picture = Image.new("RGB", (inner + 2 * MARGIN, top + height + MARGIN), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, MARGIN), title, fill=INK, font=font(26))
    draw.text((MARGIN, below), subtitle, fill=FAINT_INK, font=font(16))
    return picture, draw, top


def as_pixels(pictures: NDArray) -> NDArray:
    """`[..., 3, H, W]` as `[..., H, W, 3]`."""
    return np.ascontiguousarray(np.moveaxis(pictures, -3, -1))


def to_display(values: NDArray[np.floating], *, scale: float) -> NDArray[np.uint8]:
    """Values as uint8 pixels: zero is mid grey (128), `-scale` and `scale` are black and white.

    What lies beyond is cut off; what is not a number is grey; if `scale` is 0, all is.
    """
    if not scale > 0:
        return np.full(values.shape, 128, np.uint8)
    relative = np.nan_to_num(values.astype(np.float64) / scale, nan=0.0, posinf=1.0, neginf=-1.0)
    return np.rint(128 + 127 * np.clip(relative, -1, 1)).astype(np.uint8)


def resized(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Pixels `[h, w]` or `[h, w, 3]` at another height and width: enlarged without smoothing."""
    height, width = size
    if pixels.shape[:2] == size:
        return pixels
    grows = height >= pixels.shape[0] and width >= pixels.shape[1]
    filtering = Image.Resampling.NEAREST if grows else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(pixels).resize((width, height), filtering))


def hatching(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Diagonal stripes `[h, w, 3]`."""
    rows, columns = np.indices(size)
    stripes = np.where((rows + columns) // 4 % 2, *HATCH).astype(np.uint8)
    return np.repeat(stripes[..., None], 3, axis=-1)
