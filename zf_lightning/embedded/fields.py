"""Textures as scalar fields: float32 arrays [256, 256] with values in 0..1."""

from functools import cache

import numpy as np
from PIL import Image

SIZE = 256

KINDS = (
    "bricks", "cells", "checks", "clouds", "dots", "gradient", "grain", "plaid", "rings", "stripes"
)  # fmt: skip


@cache
def grid() -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (x, y) of all pixels, -1..1, float32 [256, 256] each."""
    axis = (np.arange(SIZE, dtype=np.float32) + 0.5) / (SIZE / 2) - 1
    x, y = np.meshgrid(axis, axis)
    return x, y


def noise(rng: np.random.Generator, cells_x: int, cells_y: int) -> np.ndarray:
    """Smooth noise with that many cells across; mean about 0.5."""
    small = rng.random((cells_y + 3, cells_x + 3), dtype=np.float32)
    edge = (1.0, 1.0, cells_x + 2.0, cells_y + 2.0)
    # Where cells are as small as a few pixels the cheaper filter looks the same.
    fine = max(cells_x, cells_y) > 40
    method = Image.Resampling.BILINEAR if fine else Image.Resampling.BICUBIC
    large = Image.fromarray(small).resize((SIZE, SIZE), method, box=edge)
    return np.asarray(large)


def clouds(rng: np.random.Generator) -> np.ndarray:
    """Noise of several sizes on top of each other."""
    cells, weight, total = int(rng.integers(2, 7)), 1.0, 0.0
    falloff = rng.uniform(0.4, 0.75)
    field = np.zeros((SIZE, SIZE), np.float32)
    for _ in range(4):
        field += weight * noise(rng, cells, cells)
        total += weight
        weight *= falloff
        cells = min(cells * 2, 128)
    return np.clip((field / total - 0.5) * 1.8 + 0.5, 0, 1)


def texture(rng: np.random.Generator, kind: str) -> np.ndarray:
    """A texture of the given kind at a random angle, scale and amount of warp."""
    if kind == "clouds":
        return clouds(rng)
    if kind == "grain":
        fine, coarse = int(rng.integers(24, 90)), int(rng.integers(2, 6))
        wide, tall = (fine, coarse) if rng.random() < 0.5 else (coarse, fine)
        return np.clip(noise(rng, wide, tall), 0, 1)
    u, v = _turned(rng)
    if kind == "gradient":
        bend = rng.uniform(0, 0.6) * v * v
        return np.clip(0.5 + 0.5 * (u + bend) / 1.3, 0, 1)
    frequency = float(np.exp(rng.uniform(np.log(2.5), np.log(11))))
    if kind == "rings":
        radius = np.hypot(u - rng.uniform(-1.2, 1.2), v - rng.uniform(-1.2, 1.2))
        return _wave(rng, radius * frequency)
    if kind == "stripes":
        return _wave(rng, u * frequency)
    if kind == "plaid":
        return 0.5 * _wave(rng, u * frequency) + 0.5 * _wave(rng, v * frequency)
    if kind == "checks":
        product = np.sin(np.float32(np.pi * frequency) * u) * np.sin(
            np.float32(np.pi * frequency) * v
        )
        return np.clip(0.5 + 10 * product, 0, 1)
    if kind == "dots":
        a, b = (u * frequency) % 1 - 0.5, (v * frequency) % 1 - 0.5
        return np.clip(6 * (np.hypot(a, b) - rng.uniform(0.2, 0.4)) + 0.5, 0, 1)
    if kind == "bricks":
        row, along = np.floor(v * frequency), u * (frequency * 0.5)
        along = along + 0.5 * (row % 2)
        a, b = along % 1, (v * frequency) % 1
        edge = np.minimum(2 * np.minimum(a, 1 - a), np.minimum(b, 1 - b))
        joint = np.clip((edge - 0.05) * (SIZE / 2 / frequency), 0, 1)  # a ramp of one pixel
        return joint * (0.65 + 0.35 * np.sin(12.9 * row + 78.2 * np.floor(along)))
    if kind == "cells":
        return _cells(rng, u, v)
    raise ValueError(f"There is no texture {kind!r}; the kinds are {', '.join(KINDS)}.")


def _turned(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x, y = grid()
    angle = rng.uniform(0, 2 * np.pi)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = cos * x + sin * y, cos * y - sin * x
    if rng.random() < 0.6:
        amount, cells = np.float32(rng.uniform(0.05, 0.3)), int(rng.integers(2, 6))
        u = u + amount * (noise(rng, cells, cells) - 0.5)
        v = v + amount * (noise(rng, cells, cells) - 0.5)
    return u, v


def _wave(rng: np.random.Generator, phase: np.ndarray) -> np.ndarray:
    # From a soft wave to hard-edged bands.
    hardness = float(np.exp(rng.uniform(0, np.log(12))))
    wave = np.sin(np.float32(np.pi) * (phase + np.float32(rng.random())))
    return np.clip(0.5 + 0.5 * hardness * (wave - np.float32(rng.uniform(-0.4, 0.4))), 0, 1)


def _cells(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # Nearest of a few random sites, at half the resolution and then enlarged.
    sites = rng.uniform(-1.4, 1.4, (int(rng.integers(8, 20)), 2)).astype(np.float32)
    tones = rng.random(len(sites), dtype=np.float32)
    a, b = u[::2, ::2, None] - sites[:, 0], v[::2, ::2, None] - sites[:, 1]
    field = tones[np.argmin(a * a + b * b, axis=2)]
    enlarged = Image.fromarray(field).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(enlarged), 0, 1)
