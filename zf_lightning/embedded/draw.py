"""One image of the dataset, a function of (seed, split, index) and nothing else."""

from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

from zf_lightning.embedded import render
from zf_lightning.embedded.backgrounds import background, draw_clutter
from zf_lightning.embedded.classes import CLASSES, SKETCHERS, has_sides
from zf_lightning.embedded.palette import object_palette
from zf_lightning.embedded.sketch import Sketch
from zf_lightning.errors import UserError

SPLITS = ("train", "val", "test")
SCALE = (0.6, 0.95)  # longer side of the object over the side of the image


@dataclass(frozen=True)
class Drawing:
    """One image, uint8 [256, 256, 3], and all that is known of it.

    `mask` is the visible object, bool [256, 256]. `parts` are points (x, y) and `box` the bounds
    (x0, y0, x1, y1) of the mask, both in continuous pixels: 0..256, pixel centres at .5. `scale`
    is the object's longer side over the image's, the part outside the image included.
    """

    image: np.ndarray
    mask: np.ndarray
    label: int
    class_name: str
    parts: dict[str, tuple[float, float]]
    box: tuple[int, int, int, int]
    scale: float


def draw_image(seed: int, split: str, index: int) -> Drawing:
    """Draw image `index` of a split; its label is index modulo 10.

    Raises ValueError for an unknown split or a negative seed or index.
    """
    if split not in SPLITS:
        raise UserError(f"There is no split {split!r}; choose one of {', '.join(SPLITS)}.")
    if seed < 0 or index < 0:
        raise UserError(f"seed ({seed}) and index ({index}) must not be negative.")
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    label = index % len(CLASSES)
    name = CLASSES[label]

    backdrop = np.clip(background(rng), 0, 255).astype(np.uint8)
    red, green, blue = backdrop[::8, ::8].reshape(-1, 3).mean(0)
    sketch = Sketch(rng, object_palette(rng, (float(red), float(green), float(blue))))
    SKETCHERS[name](sketch)
    mirrored = rng.random() < 0.5 and not has_sides(name)
    placement = render.place_sketch(rng, sketch, mirrored=mirrored, scale=SCALE)
    points = placement(np.array(list(sketch.parts.values())))

    layers = render.open_layers(backdrop)
    # Clutter grows with the object so that it always is smaller than its parts.
    size = 0.055 * placement.extent
    draw_clutter(ImageDraw.Draw(layers.colour), rng, int(rng.integers(10, 45)), size, render.ZOOM)
    outline = 0.0 if rng.random() < 0.15 else placement.extent * rng.uniform(0.005, 0.013)
    render.draw_object(layers, sketch, placement, outline=outline)
    whole = layers.silhouette.reduce(render.ZOOM)
    render.cover(layers, rng, points, count=int(rng.integers(0, 14)), size=size)
    image, mask = render.finish(layers, whole, rng)

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    parts = {
        part: (round(float(x), 2), round(float(y), 2))
        for part, (x, y) in sorted(zip(sketch.parts, points, strict=True))
    }
    scale = round(placement.extent / render.SIZE, 4)
    return Drawing(image, mask, label, name, parts, box, scale)
