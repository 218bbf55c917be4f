"""Fig. 4: feature maps over the epochs, and how their strongest images settle."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from zf_lightning.figures.canvas import (
    EMPTY,
    FAINT_INK,
    INK,
    MARGIN,
    as_pixels,
    font,
    resized,
    sheet,
    to_display,
)
from zf_lightning.figures.grid import projection_scale, tile_size
from zf_lightning.figures.style import (
    COLOURS,
    FONT_SIZE,
    new_figure,
    plain_axes,
    series_style,
    to_image,
)

SPACE, LABEL_WIDTH, HEADING = 6, 84, 26
JUMP = ImageColor.getrgb(COLOURS[1])
JUMP_HEIGHT = 4


def evolution_panel(
    projections: NDArray[np.floating],
    inside: NDArray[np.bool_],
    activations: NDArray[np.floating],
    jumped: NDArray[np.bool_],
    *,
    feature_maps: Sequence[int],
    epochs: Sequence[int],
    title: str = "",
    subtitle: str = "",
) -> Image.Image:
    """Draw the strongest projection of M feature maps (rows) at E epochs (columns).

    Each has its own scale, on which zero is mid grey: their activations differ by magnitudes over
    a training. A bar above a projection says that another image has become the strongest.

    Args:
        projections: `[E, M, 3, h, w]`.
        inside: `[E, M, h, w]`, False beyond the image's border.
        activations: `[E, M]`; 0 where nothing excited the feature map.
        jumped: `[E, M]`, whether the image is another than at the epoch to the left.
    """
    size = tile_size(projections.shape[3], projections.shape[4])
    step = size[0] + SPACE + JUMP_HEIGHT
    width = LABEL_WIDTH + len(epochs) * (size[1] + SPACE) - SPACE
    height = HEADING + len(feature_maps) * step
    picture, draw, top = sheet(width, height, title=title, subtitle=subtitle)
    top += HEADING
    for column, epoch in enumerate(epochs):
        left = MARGIN + LABEL_WIDTH + column * (size[1] + SPACE)
        label = f"epoch {epoch}" if size[1] > 70 else str(epoch)
        centre = (left + size[1] // 2, top - 8)
        draw.text(centre, label, fill=INK, font=font(15), anchor="ms")
        for row in range(len(feature_maps)):
            above = top + row * step + JUMP_HEIGHT
            corner = (left, above, left + size[1] - 1, above + size[0] - 1)
            if not activations[column, row] > 0:
                draw.rectangle(corner, fill=EMPTY)
                middle = (left + size[1] // 2, above + size[0] // 2)
                draw.text(middle, "dead", fill=FAINT_INK, font=font(13), anchor="mm")
                continue
            values = projections[column, row]
            scale = projection_scale(values[None], inside[column, row][None])
            pixels = as_pixels(to_display(values, scale=scale))
            picture.paste(Image.fromarray(resized(pixels, size)), (left, above))
            if jumped[column, row]:
                draw.rectangle((left, above - JUMP_HEIGHT, corner[2], above - 2), fill=JUMP)
    for row, number in enumerate(feature_maps):
        centre = (MARGIN, top + row * step + JUMP_HEIGHT + size[0] // 2)
        draw.text(centre, f"map {number}", fill=INK, font=font(15), anchor="lm")
    return picture


def evolution_curves(
    epochs: Sequence[int],
    with_last: Mapping[str, NDArray[np.floating]],
    with_previous: Mapping[str, NDArray[np.floating]],
    similarity: Mapping[str, NDArray[np.floating]],
    *,
    top: int,
) -> Image.Image:
    """Draw, for each layer, how its top images and projections settle.

    Args:
        with_last: by layer `[E]`: mean Jaccard of the top images with those of the last epoch.
        with_previous: by layer `[E - 1]`: with those of the atlas before.
        similarity: by layer `[E - 1]`: mean cosine of the strongest projections with those before.
        top: how many images a feature map has.
    """
    figure = new_figure(11, 3.2)
    panels = figure.subplots(1, 3)
    curves = (
        (f"top {top}: Jaccard with the last epoch", epochs, with_last),
        (f"top {top}: Jaccard with the atlas before", epochs[1:], with_previous),
        ("strongest projections: cosine with the atlas before", epochs[1:], similarity),
    )
    for axes, (title, at, values) in zip(panels, curves, strict=True):
        for number, (layer, of_layer) in enumerate(values.items()):
            axes.plot(
                at,
                of_layer,
                markersize=3.5,
                linewidth=1.2,
                label=layer,
                **series_style(number),
            )
        plain_axes(axes, "epoch", "mean over feature maps")
        axes.set_title(title, fontsize=FONT_SIZE)
        axes.set_ylim(0, 1.03)
    panels[0].legend(fontsize=FONT_SIZE - 1, frameon=False)
    return to_image(figure)
