"""A sketch: the shapes and named parts of one object in its own units, before it is placed."""

from dataclasses import dataclass, field

import numpy as np

from zf_lightning.embedded.palette import Colour, Palette
from zf_lightning.embedded.shapes import Points


@dataclass(frozen=True)
class Shape:
    """One filled outline; `relief` is its height for shading, `skin` lets it carry a texture."""

    points: Points
    fill: Colour
    outlined: bool
    relief: float
    skin: bool


@dataclass
class Sketch:
    """Shapes from back to front and parts, in units in which an object spans about -1..1."""

    rng: np.random.Generator
    palette: Palette
    shapes: list[Shape] = field(default_factory=list)
    parts: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(
        self,
        points: Points,
        fill: Colour,
        *,
        outlined: bool = True,
        relief: float = 0.5,
        skin: bool = False,
    ) -> None:
        """Put a shape in front of those already there."""
        self.shapes.append(Shape(points, fill, outlined, relief, skin))

    def detail(self, points: Points, fill: Colour, *, relief: float = 0.5) -> None:
        """Put a shape without outline in front of those already there."""
        self.add(points, fill, outlined=False, relief=relief)

    def part(self, name: str, x: float, y: float) -> None:
        """Name a point of the object."""
        self.parts[name] = (x, y)

    def part_of_pair(self, name: str, x: float, y: float, *, from_above: bool = False) -> None:
        """Name a point of the subject's own left or right, which mirror each other at x = 0.

        A subject that faces us has its left on our right; one seen from above, head up, has not.
        """
        self.part(f"{'right' if (x > 0) == from_above else 'left'}_{name}", x, y)

    def vary(self, low: float, high: float) -> float:
        """Uniform random number: a proportion of this instance."""
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return bool(self.rng.random() < probability)
