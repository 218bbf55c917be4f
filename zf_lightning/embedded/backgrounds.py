"""Textured backgrounds and the clutter that distracts from the object."""

import numpy as np
from PIL import ImageDraw

from zf_lightning.embedded.fields import KINDS, noise, texture
from zf_lightning.embedded.palette import Colour, random_colour, shade
from zf_lightning.embedded.shapes import ellipse, place

_CIRCLE = ellipse(0, 0, 1, 1, n=18)
_STROKE = np.stack([np.linspace(-1, 1, 7), 1 - np.linspace(-1, 1, 7) ** 2], 1)


def background(rng: np.random.Generator) -> np.ndarray:
    """A textured background, float32 [256, 256, 3] in 0..255."""
    field = texture(rng, KINDS[int(rng.integers(len(KINDS)))])
    if rng.random() < 0.35:
        other = texture(rng, KINDS[int(rng.integers(len(KINDS)))])
        share = np.float32(rng.uniform(0.3, 0.7))
        field = share * field + (1 - share) * other
    picture = _colour_map(rng)[(field * 255).astype(np.uint8)]
    cells = int(rng.integers(3, 7))
    uneven = np.float32(rng.uniform(0.1, 0.4)) * (noise(rng, cells, cells) - 0.5)
    if rng.random() < 0.7:
        fine = int(rng.integers(50, 200))
        uneven = uneven + np.float32(rng.uniform(0.03, 0.2)) * (noise(rng, fine, fine) - 0.5)
    return picture * (1 + uneven)[..., None]


def clutter(rng: np.random.Generator, count: int, size: float) -> list[tuple[np.ndarray, Colour]]:
    """Small shapes around the origin: (points [N, 2] in pixels, colour), none longer than 2 `size`.

    Strokes, dots and little polygons.
    """
    shapes = []
    for _ in range(count):
        reach = size * rng.uniform(0.3, 1.0)
        kind = int(rng.integers(4))
        if kind == 0:
            bend, half = rng.uniform(-0.4, 0.4) * reach, rng.uniform(0.6, 1.6)
            there = _STROKE * [reach, bend]
            offset = np.array([0.0, half])
            points = np.concatenate([there + offset, there[::-1] - offset])
        elif kind == 1:
            points = _CIRCLE * [reach * 0.5, reach * rng.uniform(0.25, 0.5)]
        else:
            corners = int(rng.integers(3, 7))
            angles = np.sort(rng.random(corners)) + np.arange(corners)
            angles = angles * 2 * np.pi / corners
            radii = reach * 0.6 * rng.uniform(0.6, 1.0, corners)
            points = np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)
        shapes.append((place(points, 0, 0, turn=rng.uniform(0, 360)), random_colour(rng)))
    return shapes


def draw_clutter(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, count: int, size: float, zoom: int
) -> None:
    """Scatter clutter over a whole canvas of 256 `zoom` pixels a side."""
    for points, colour in clutter(rng, count, size):
        shift = rng.uniform(0, 256, 2)
        ink = tuple(int(channel) for channel in colour)
        draw.polygon(((points + shift) * zoom - 0.5).ravel().tolist(), fill=ink)


def _colour_map(rng: np.random.Generator) -> np.ndarray:
    # 256 colours through two to four random ones; neighbours often are shades of one colour.
    count = int(rng.integers(2, 5))
    colours = [random_colour(rng)]
    for _ in range(count - 1):
        related = rng.random() < 0.45
        colours.append(
            shade(colours[-1], rng.uniform(0.45, 1.9)) if related else random_colour(rng)
        )
    stops = np.linspace(0, 255, count)
    table = np.array(colours)
    channels = [np.interp(np.arange(256), stops, table[:, k]) for k in range(3)]
    return np.stack(channels, 1).astype(np.float32)
