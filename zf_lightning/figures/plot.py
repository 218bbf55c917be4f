"""What figures with axes share: size, colours, and the way to pixels (matplotlib)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

#: Pixels an inch: a figure of 7 inches is drawn for the width of a page.
RESOLUTION = 160
#: Okabe and Ito's colours, told apart by colour-blind readers, and what tells them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
OTHER_COLOUR = "#B8BCC2"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
#: Perceptually uniform, for colour-blind readers too.
COLOUR_MAPS = ("viridis", "cividis")
FONT_SIZE = 8


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, its parts laid out so that no text is cut off."""
    return Figure(figsize=(width, height), dpi=RESOLUTION, layout="constrained")


def to_image(figure: Figure) -> Image.Image:
    """A drawn figure as a picture."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def show_pixels(axes: Axes, pixels: NDArray[np.uint8], title: str = "") -> None:
    """A picture `[H, W, 3]` without ticks."""
    axes.imshow(pixels, interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    if title:
        axes.set_title(title, fontsize=FONT_SIZE)


def plain_axes(axes: Axes, xlabel: str = "", ylabel: str = "") -> None:
    """Axes with labels, a faint grid, and no box."""
    axes.set_xlabel(xlabel, fontsize=FONT_SIZE)
    axes.set_ylabel(ylabel, fontsize=FONT_SIZE)
    axes.tick_params(labelsize=FONT_SIZE - 1)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def shortened(text: str, letters: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"


def first_name(name: str) -> str:
    """The first of the synonyms by which ImageNet calls a class."""
    return name.split(",")[0].strip().replace("_", " ")


def as_pixels(pictures: NDArray) -> NDArray:
    """`[..., 3, H, W]` as `[..., H, W, 3]`."""
    return np.ascontiguousarray(np.moveaxis(pictures, -3, -1))


def distinct(names: Sequence[str]) -> list[str]:
    """The names, numbered where the same comes again, so that a legend tells them apart."""
    found = []
    for place, name in enumerate(names):
        earlier = names[:place].count(name)
        found.append(f"{name} ({earlier + 1})" if names.count(name) > 1 else name)
    return found
