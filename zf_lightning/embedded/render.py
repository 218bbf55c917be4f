"""From a sketch to pixels: placement, antialiased drawing, shading, lighting.

Coordinates of an image are continuous: x right and y down over 0..256, so that the centre of the
first pixel is at (0.5, 0.5) and resizing an image by a factor multiplies them by it.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from zf_lightning.embedded.backgrounds import clutter
from zf_lightning.embedded.fields import KINDS, SIZE, grid, texture
from zf_lightning.embedded.palette import Colour
from zf_lightning.embedded.sketch import Sketch

ZOOM = 3  # supersampling along each axis
OVERHANG = 6.0  # pixels by which an object may reach over the edge of the image
CLEARANCE = 15.0  # pixels from a part's point to the nearest thing in front of it


@dataclass(frozen=True)
class Placement:
    """Where an object lies: pixel = matrix @ point + shift; `extent` is its longer side, pixels."""

    matrix: np.ndarray
    shift: np.ndarray
    extent: float

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Points [N, 2] of the sketch as pixels [N, 2]."""
        return points @ self.matrix.T + self.shift


def place_sketch(
    rng: np.random.Generator, sketch: Sketch, *, mirrored: bool, scale: tuple[float, float]
) -> Placement:
    """Random rotation, proportions, size (longer side over image side in `scale`) and position."""
    angle = np.deg2rad(np.clip(rng.normal(0, 12), -25, 25))
    stretch, shear = np.exp(rng.uniform(-0.13, 0.13)), rng.uniform(-0.12, 0.12)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.array([[stretch, shear], [0, 1 / stretch]])
    if mirrored:
        matrix = matrix * [-1.0, 1.0]
    outline = np.concatenate([shape.points for shape in sketch.shapes]) @ matrix.T
    low, high = outline.min(0), outline.max(0)
    extent = SIZE * rng.uniform(*scale)
    factor = extent / float((high - low).max())
    slack = SIZE + 2 * OVERHANG - factor * (high - low)
    shift = rng.random(2) * slack - OVERHANG - factor * low
    return Placement(factor * matrix, shift, float(extent))


@dataclass
class Layers:
    """Canvases that the shapes of an object are drawn on together."""

    colour: Image.Image  # RGB, supersampled, filled with the background
    silhouette: Image.Image  # L, supersampled
    relief: Image.Image  # L, heights for the shading
    skin: Image.Image  # L, where the object's texture shows


def open_layers(backdrop: np.ndarray) -> Layers:
    """Empty layers over a background, uint8 [256, 256, 3]."""
    large = (SIZE * ZOOM, SIZE * ZOOM)
    return Layers(
        Image.fromarray(backdrop).resize(large, Image.Resampling.NEAREST),
        Image.new("L", large),
        Image.new("L", (SIZE, SIZE)),
        Image.new("L", (SIZE, SIZE)),
    )


def draw_object(layers: Layers, sketch: Sketch, placement: Placement, *, outline: float) -> None:
    """Draw all shapes; `outline` is the width of their outlines in pixels, 0 for none."""
    colour, silhouette = ImageDraw.Draw(layers.colour), ImageDraw.Draw(layers.silhouette)
    relief, skin = ImageDraw.Draw(layers.relief), ImageDraw.Draw(layers.skin)
    line, width = _ink(sketch.palette.line), round(outline * ZOOM)
    for shape in sketch.shapes:
        pixels = placement(shape.points)
        large, small = (pixels * ZOOM - 0.5).ravel().tolist(), (pixels - 0.5).ravel().tolist()
        colour.polygon(large, fill=_ink(shape.fill))
        silhouette.polygon(large, fill=255)
        relief.polygon(small, fill=int(40 + 215 * shape.relief))
        skin.polygon(small, fill=255 if shape.skin else 0)
        if shape.outlined and width:
            closed = large + large[:4]
            colour.line(closed, fill=line, width=width, joint="curve")
            silhouette.line(closed, fill=255, width=width)


def cover(
    layers: Layers, rng: np.random.Generator, parts: np.ndarray, *, count: int, size: float
) -> None:
    """Clutter in front of the object, where it keeps clear of all parts [N, 2] (pixels)."""
    colour, silhouette = ImageDraw.Draw(layers.colour), ImageDraw.Draw(layers.silhouette)
    for points, paint in clutter(rng, count, size):
        shift = rng.uniform(0, SIZE, 2)
        if np.hypot(*(parts - shift).T).min() < size + CLEARANCE:
            continue
        large = ((points + shift) * ZOOM - 0.5).ravel().tolist()
        colour.polygon(large, fill=_ink(paint))
        silhouette.polygon(large, fill=0)


def finish(
    layers: Layers, soft_mask: Image.Image, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The image, uint8 [256, 256, 3], and the mask of the visible object, bool [256, 256].

    `soft_mask` is the silhouette, L [256, 256], before anything was put in front of it.
    """
    picture = np.asarray(layers.colour.reduce(ZOOM), dtype=np.float32)
    mask = np.asarray(soft_mask, dtype=np.float32) / 255
    light = rng.uniform(np.deg2rad(200), np.deg2rad(340))  # from above
    toward = np.float32(np.cos(light)), np.float32(np.sin(light))

    shading = 1 + mask * (_relief_shading(layers, soft_mask, toward, rng) - 1)
    if rng.random() < 0.75:
        skin = np.asarray(layers.skin.filter(ImageFilter.BoxBlur(1)), dtype=np.float32) / 255
        pattern = texture(rng, KINDS[int(rng.integers(len(KINDS)))]) - 0.5
        shading *= 1 + np.float32(rng.uniform(0.12, 0.5)) * skin * mask * pattern
    if rng.random() < 0.8:
        shading *= 1 - (1 - mask) * _cast_shadow(soft_mask, toward, rng)

    visible = np.asarray(layers.silhouette.reduce(ZOOM)) >= 128
    return _expose(picture, shading, rng), visible


def _relief_shading(
    layers: Layers, soft_mask: Image.Image, toward: tuple[np.float32, np.float32],
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    # Heights: the parts' own relief, rounded at its edges, over a broad bulge of the whole object.
    near = np.asarray(layers.relief.filter(ImageFilter.BoxBlur(2)), dtype=np.float32) / 255
    bulge = soft_mask.reduce(4).filter(ImageFilter.GaussianBlur(5))
    broad = np.asarray(bulge.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float32) / 255
    depth = np.float32(rng.uniform(0.8, 2.6)) * near + np.float32(rng.uniform(4, 16)) * broad
    slope = np.zeros_like(depth)
    slope[:, 1:-1] = toward[0] * (depth[:, 2:] - depth[:, :-2])
    slope[1:-1] += toward[1] * (depth[2:] - depth[:-2])
    return np.clip(1 - 0.5 * slope, 0.55, 1.45)


def _cast_shadow(
    soft_mask: Image.Image, toward: tuple[np.float32, np.float32], rng: np.random.Generator
) -> np.ndarray:
    length = rng.uniform(4, 12)
    moved = (float(toward[0]) * length / 2, float(toward[1]) * length / 2)
    small = soft_mask.reduce(2).transform(
        (SIZE // 2, SIZE // 2), Image.Transform.AFFINE, (1, 0, moved[0], 0, 1, moved[1])
    )
    blurred = small.filter(ImageFilter.BoxBlur(rng.uniform(1, 4)))
    large = blurred.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(large, np.float32) * np.float32(rng.uniform(0.2, 0.55) / 255)


def _expose(picture: np.ndarray, shading: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # Shading, a gradient of brightness, gain, a tint, contrast and the noise of a sensor.
    x, y = grid()
    angle, amount = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.28)
    across = np.float32(amount * np.cos(angle)) * x + np.float32(amount * np.sin(angle)) * y
    gain = rng.uniform(0.75, 1.2) * (1 + rng.uniform(-0.07, 0.07, 3))
    contrast = rng.uniform(0.7, 1.12)
    sensor = np.float32(rng.uniform(0.5, 6)) * rng.standard_normal(x.shape, dtype=np.float32)
    picture = picture * (contrast * gain).astype(np.float32)
    picture *= (shading * (1 + across))[..., None]
    picture += (sensor + np.float32(115 * (1 - contrast)))[..., None]
    return np.clip(picture, 0, 255, out=picture).astype(np.uint8)


def _ink(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (int(min(255, max(0, channel))) for channel in colour)
    return red, green, blue
