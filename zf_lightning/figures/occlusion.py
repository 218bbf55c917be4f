"""The five panels of Fig. 7 for each image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray
from PIL import Image

from zf_lightning.figures.canvas import as_pixels, to_display
from zf_lightning.figures.grid import projection_scale
from zf_lightning.figures.style import (
    COLOUR_MAPS,
    COLOURS,
    FONT_SIZE,
    OTHER_COLOUR,
    first_name,
    new_figure,
    shortened,
    show_pixels,
    to_image,
)

ROW_HEIGHT, WIDTH = 2.3, 12.5
#: Classes with a colour of their own in the last panel; the rarer ones share one.
CLASSES_SHOWN = 6
#: Relative differences below this are not worth a colour.
FLAT = 1e-4


@dataclass(frozen=True)
class OcclusionPanels:
    """Contents of a row; maps are `[R, K]`, a value for each position of the square."""

    name: str
    #: `[3, H, W]` uint8.
    picture: NDArray[np.uint8]
    #: First rows and columns of the squares, and their size, in pixels.
    tops: Sequence[int]
    lefts: Sequence[int]
    size: int
    #: First row and column of the square that lowers the probability most; None if none does.
    worst: tuple[int, int] | None
    layer: str
    feature_map: int
    activation: NDArray[np.floating]
    #: `[3, h, w]` of the image itself, and `[k, 3, h, w]` of other images (may be none).
    projection: NDArray[np.floating]
    other_projections: NDArray[np.floating]
    class_name: str
    probability: NDArray[np.floating]
    #: Of the unoccluded image.
    unoccluded_probability: float
    most_probable: NDArray[np.int64]


def occlusion_figure(rows: Sequence[OcclusionPanels], class_names: Sequence[str]) -> Image.Image:
    """Draw panels a to e of Fig. 7, a row an image.

    Positions are drawn where the middle of the square was. On the picture a frame shows where the
    square lowers the probability of the class most.
    """
    figure = new_figure(WIDTH, ROW_HEIGHT * len(rows))
    panels = figure.subplots(
        len(rows), 5, squeeze=False, gridspec_kw={"width_ratios": (1, 1.25, 1, 1.25, 1.9)}
    )
    for row, axes in zip(rows, panels, strict=True):
        _draw_row(figure, list(axes), row, class_names)
    return to_image(figure)


def projection_tiles(
    own: NDArray[np.floating], others: NDArray[np.floating]
) -> list[NDArray[np.uint8]]:
    """Up to four projections `[3, h, w]` as pixels `[h, w, 3]` on one scale, the own first."""
    tiles = [own, *others[:3]]
    if any(tile.shape != own.shape for tile in tiles):
        tiles = [own]
    everywhere = np.ones((len(tiles), *own.shape[1:]), bool)
    scale = projection_scale(np.stack(tiles), everywhere)
    return [as_pixels(to_display(tile, scale=scale)) for tile in tiles]


def _draw_row(
    figure: Figure, axes: list[Axes], row: OcclusionPanels, class_names: Sequence[str]
) -> None:
    name = shortened(first_name(row.class_name), 28)
    show_pixels(axes[0], as_pixels(row.picture))
    _title(axes[0], "a", f"{shortened(row.name, 28)}\n{name}")
    if row.worst is not None:
        corner = (row.worst[1], row.worst[0])
        for colour, width in (("white", 2.5), ("black", 1.0)):
            axes[0].add_patch(
                Rectangle(corner, row.size, row.size, fill=False, edgecolor=colour, linewidth=width)
            )
    layer = f"{shortened(row.layer, 20)} map {row.feature_map}"
    _draw_map(figure, axes[1], row, row.activation, COLOUR_MAPS[0])
    _title(axes[1], "b", f"total activation of\n{layer}")
    tiles = _draw_projections(axes[2], row)
    others = ": own, framed,\nand of its top images" if tiles > 1 else "\nof this image"
    _title(axes[2], "c", f"projection{'s' if tiles > 1 else ''}{others}")
    _draw_map(figure, axes[3], row, row.probability, COLOUR_MAPS[1])
    _title(axes[3], "d", f"probability of {name}\nunoccluded {row.unoccluded_probability:.3g}")
    _draw_classes(axes[4], row, class_names)
    _title(axes[4], "e", "most probable class\n")


def _title(axes: Axes, letter: str, text: str) -> None:
    axes.set_title(f"({letter}) {text}", fontsize=FONT_SIZE - 1)


def _extent(row: OcclusionPanels) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of a map, each position a cell around the square's middle."""

    def ends(starts: Sequence[int]) -> tuple[float, float]:
        step = starts[1] - starts[0] if len(starts) > 1 else row.size
        middle = row.size / 2
        return starts[0] + middle - step / 2, starts[-1] + middle + step / 2

    (left, right), (top, bottom) = ends(row.lefts), ends(row.tops)
    return left, right, bottom, top


def _frame(axes: Axes, row: OcclusionPanels) -> None:
    height, width = row.picture.shape[1:]
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_aspect("equal")
    axes.tick_params(labelsize=FONT_SIZE - 2)
    axes.set_xlabel("column of the square (pixels)", fontsize=FONT_SIZE - 1)
    axes.set_ylabel("row (pixels)", fontsize=FONT_SIZE - 1)


def _draw_map(
    figure: Figure,
    axes: Axes,
    row: OcclusionPanels,
    values: NDArray[np.floating],
    colours: str,
) -> None:
    low, high = float(values.min()), float(values.max())
    if high - low < FLAT * max(abs(high), abs(low)):
        # Nothing but rounding: one colour, on a scale that says so.
        low, high = min(low, 0.0), max(high, 0.0)
    drawn = axes.imshow(
        values, cmap=colours, extent=_extent(row), interpolation="nearest", vmin=low, vmax=high
    )
    _frame(axes, row)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.85)
    bar.ax.tick_params(labelsize=FONT_SIZE - 2)


def _draw_projections(axes: Axes, row: OcclusionPanels) -> int:
    """Draw them, and say how many there are."""
    tiles = projection_tiles(row.projection, row.other_projections)
    axes.set_axis_off()
    places = [(0.0, 0.0, 1.0, 1.0)]
    if len(tiles) > 1:
        places = [(x, y, 0.485, 0.485) for y in (0.515, 0.0) for x in (0.0, 0.515)]
    for number, (tile, place) in enumerate(zip(tiles, places, strict=False)):
        inner = axes.inset_axes(place)
        show_pixels(inner, tile)
        for spine in inner.spines.values():
            spine.set_linewidth(1.8 if number == 0 else 0)
    return len(tiles)


def _draw_classes(axes: Axes, row: OcclusionPanels, class_names: Sequence[str]) -> None:
    classes, counts = np.unique(row.most_probable, return_counts=True)
    order = classes[np.argsort(-counts, kind="stable")]
    shown = order[:CLASSES_SHOWN]
    drawn = np.full(row.most_probable.shape, len(shown))
    for place, label in enumerate(shown):
        drawn[row.most_probable == label] = place
    colours = [*COLOURS[: len(shown)], OTHER_COLOUR]
    axes.imshow(
        drawn,
        cmap=ListedColormap(colours),
        vmin=-0.5,
        vmax=len(colours) - 0.5,
        extent=_extent(row),
        interpolation="nearest",
    )
    _frame(axes, row)
    share = {int(label): count / drawn.size for label, count in zip(classes, counts, strict=True)}
    handles = [
        Patch(
            color=colours[place],
            label=f"{shortened(_name(int(label), class_names), 24)} {share[int(label)]:.0%}",
        )
        for place, label in enumerate(shown)
    ]
    rest = len(order) - len(shown)
    if rest:
        covered = (drawn == len(shown)).mean()
        handles.append(Patch(color=OTHER_COLOUR, label=f"{rest} others {covered:.0%}"))
    axes.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(1.02, 0.5),
        fontsize=FONT_SIZE - 1,
        frameon=False,
    )


def _name(label: int, class_names: Sequence[str]) -> str:
    return first_name(class_names[label]) if label < len(class_names) else f"class {label}"
