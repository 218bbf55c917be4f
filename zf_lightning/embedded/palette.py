"""Colours: drawn for every object without regard to its class, so colour tells nothing of it."""

import colorsys
from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]  # red, green, blue in 0..255


@dataclass(frozen=True)
class Palette:
    """Colours of one object: three paints, a pale and a deep one, and its outline."""

    main: Colour
    second: Colour
    accent: Colour
    pale: Colour
    deep: Colour
    line: Colour


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Colour from hue (turns), saturation and value (0..1)."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return 255 * red, 255 * green, 255 * blue


def random_colour(rng: np.random.Generator) -> Colour:
    """Any hue; from greyish to saturated and from dark to bright."""
    return hsv(rng.random(), 0.95 * rng.random() ** 0.7, rng.uniform(0.25, 1.0))


def shade(colour: Colour, factor: float) -> Colour:
    """Darker for a factor below 1; above 1 blended towards white."""
    if factor <= 1:
        red, green, blue = (channel * factor for channel in colour)
    else:
        red, green, blue = (255 - (255 - channel) / factor for channel in colour)
    return red, green, blue


def distance(first: Colour, second: Colour) -> float:
    """Difference of two colours, weighted as the eye weighs it (0..255)."""
    weights = (0.3, 0.5, 0.2)
    pairs = zip(weights, first, second, strict=True)
    return float(sum(weight * (a - b) ** 2 for weight, a, b in pairs) ** 0.5)


def unlike(rng: np.random.Generator, others: list[Colour], apart: float) -> Colour:
    """Random colour at least `apart` from the others where a few tries find one."""
    best, best_gap = random_colour(rng), -1.0
    for _ in range(8):
        colour = random_colour(rng)
        gap = min((distance(colour, other) for other in others), default=255.0)
        if gap >= apart:
            return colour
        if gap > best_gap:
            best, best_gap = colour, gap
    return best


def object_palette(rng: np.random.Generator, backdrop: Colour) -> Palette:
    """Palette whose main colour stands out from `backdrop`, the mean colour behind the object."""
    main = unlike(rng, [backdrop], 60)
    second = unlike(rng, [main, backdrop], 50)
    accent = unlike(rng, [main, second], 50)
    pale = hsv(rng.random(), rng.uniform(0, 0.25), rng.uniform(0.85, 1.0))
    deep = hsv(rng.random(), rng.uniform(0, 0.7), rng.uniform(0.05, 0.22))
    line = shade(main, rng.uniform(0.2, 0.45)) if rng.random() < 0.7 else deep
    return Palette(main, second, accent, pale, deep, line)
