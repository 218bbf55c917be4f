"""Closed outlines as arrays of points [N, 2] in an object's own units (x right, y down)."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

Points = np.ndarray


def ellipse(x: float, y: float, rx: float, ry: float, *, turn: float = 0.0, n: int = 36) -> Points:
    """Ellipse around (x, y), turned clockwise by `turn` degrees."""
    points = _unit_circle(n) * [rx, ry]
    return place(points, x, y, turn=turn) if turn else points + np.array([x, y])


def squircle(x: float, y: float, rx: float, ry: float, *, power: float = 3.0) -> Points:
    """Superellipse: `power` 2 is an ellipse, larger values approach a box."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    unit = np.stack(
        [np.sign(cos) * np.abs(cos) ** (2 / power), np.sign(sin) * np.abs(sin) ** (2 / power)], 1
    )
    return unit * [rx, ry] + [x, y]


def box(x0: float, y0: float, x1: float, y1: float) -> Points:
    """Rectangle with the given edges."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)


def polygon(*corners: tuple[float, float]) -> Points:
    """The corners as they are."""
    return np.array(corners, float)


def symmetric(*right: tuple[float, float]) -> list[tuple[float, float]]:
    """Corners of an outline that mirrors itself at x = 0, from those of its right half."""
    return [*right, *((-x, y) for x, y in reversed(right) if x != 0)]


def smooth(*corners: tuple[float, float], tension: float = 0.5, steps: int = 7) -> Points:
    """Closed curve through the corners (a cardinal spline; tension 0 gives straight sides)."""
    p = np.array(corners, float)
    return _spline(np.roll(p, 1, 0), p, np.roll(p, -1, 0), np.roll(p, -2, 0), tension, steps)


def path(*corners: tuple[float, float], steps: int = 7) -> Points:
    """Open smooth curve from the first corner to the last; made to be given to `stroke`."""
    p = np.array(corners, float)
    q = np.concatenate([p[:1], p, p[-1:]])
    curve = _spline(q[:-3], q[1:-2], q[2:-1], q[3:], 0.5, steps)
    return np.concatenate([curve, p[-1:]])


def stroke(
    line: Points | Sequence[tuple[float, float]], width: float, end: float | None = None
) -> Points:
    """Outline of a brush stroke along an open line, `width` wide, tapering to `end`."""
    line = np.asarray(line, float)
    tangent = np.empty_like(line)
    tangent[1:-1] = line[2:] - line[:-2]
    tangent[0], tangent[-1] = line[1] - line[0], line[-1] - line[-2]
    tangent /= np.sqrt((tangent * tangent).sum(1, keepdims=True)) + 1e-9
    normal = tangent[:, ::-1] * [-1.0, 1.0]
    end = width if end is None else end
    half = (width + (end - width) * np.arange(len(line)) / (len(line) - 1))[:, None] / 2
    start_cap = line[:1] - tangent[:1] * half[0]
    end_cap = line[-1:] + tangent[-1:] * half[-1]
    return np.concatenate(
        [start_cap, line + normal * half, end_cap, (line - normal * half)[::-1]], 0
    )


def place(points: Points, x: float, y: float, *, turn: float = 0.0, size: float = 1.0) -> Points:
    """Points scaled, turned clockwise by `turn` degrees and moved to (x, y)."""
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    rotation = np.array([[cos, sin], [-sin, cos]])
    return size * points @ rotation + [x, y]


def mirror(points: Points) -> Points:
    """Points mirrored at the axis x = 0."""
    return points * [-1.0, 1.0]


def _spline(
    before: Points, start: Points, end: Points, after: Points, tension: float, steps: int
) -> Points:
    # Four weights for each step, times the four quantities of each side: [sides, steps, 2].
    quantities = np.stack([start, tension * (end - before), end, tension * (after - start)], 1)
    return (_hermite(steps) @ quantities).reshape(-1, 2)


@cache
def _hermite(steps: int) -> np.ndarray:
    t = np.arange(steps) / steps
    leave, arrive = t**3 - 2 * t**2 + t, t**3 - t**2
    end = 3 * t**2 - 2 * t**3
    return np.stack([1 - end, leave, end, arrive], 1)


@cache
def _unit_circle(n: int) -> Points:
    angle = np.arange(n) * (2 * np.pi / n)
    return np.stack([np.cos(angle), np.sin(angle)], 1)
