"""The style of figures with axes: palette, markers, sizes, and the ways to a file (matplotlib)."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text
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
#: Where a figure stands alone on a page, rather than beside others.
LARGE_FONT_SIZE = 11


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, its parts laid out so that no text is cut off."""
    return Figure(figsize=(width, height), dpi=RESOLUTION, layout="constrained")


def to_image(figure: Figure) -> Image.Image:
    """A drawn figure as a picture."""
    canvas = FigureCanvasAgg(_as_written(figure))
    with matplotlib.rc_context({"text.parse_math": False}):
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def to_svg(figure: Figure) -> str:
    """A figure as an SVG element on a transparent ground: the same figure gives the same text."""
    for ground in (figure.patch, *(axes.patch for axes in figure.axes)):
        ground.set_visible(False)
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "zf-lightning", "text.parse_math": False}):
        FigureCanvasSVG(_as_written(figure)).print_svg(text, metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _as_written(figure: Figure) -> Figure:
    """The figure with every text as it is: a class may be called `$1`, and is no formula."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return figure


def series_style(number: int, *, published: bool = False) -> dict[str, Any]:
    """Colour and marker of the series of a number; hollow and dashed where others published it."""
    colour = COLOURS[number % len(COLOURS)]
    return {
        "color": colour,
        "marker": MARKERS[number % len(MARKERS)],
        "markerfacecolor": "none" if published else colour,
        "linestyle": "--" if published else "-",
    }


def show_pixels(axes: Axes, pixels: NDArray[np.uint8], title: str = "") -> None:
    """A picture `[H, W, 3]` without ticks."""
    axes.imshow(pixels, interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    if title:
        axes.set_title(title, fontsize=FONT_SIZE)


def plain_axes(
    axes: Axes, xlabel: str = "", ylabel: str = "", *, font_size: float = FONT_SIZE
) -> None:
    """Axes with labels, a faint grid, and no box."""
    axes.set_xlabel(xlabel, fontsize=font_size)
    axes.set_ylabel(ylabel, fontsize=font_size)
    axes.tick_params(labelsize=font_size - 1)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def shortened(text: str, letters: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"


def first_name(name: str) -> str:
    """The first of the synonyms by which ImageNet calls a class."""
    return name.split(",")[0].strip().replace("_", " ")


def distinct(names: Sequence[str]) -> list[str]:
    """The names, numbered where the same occurs again, so that a legend tells them apart."""
    return [
        f"{name} ({names[:place].count(name) + 1})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]
