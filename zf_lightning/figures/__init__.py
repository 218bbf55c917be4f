"""Pictures from plain arrays: grids of patches and projections, contact sheets of filters."""

from zf_lightning.figures.canvas import to_display
from zf_lightning.figures.comparison import Series, comparison_plot
from zf_lightning.figures.filters import filter_sheet
from zf_lightning.figures.grid import class_caption, layer_panel

__all__ = [
    "Series",
    "class_caption",
    "comparison_plot",
    "filter_sheet",
    "layer_panel",
    "to_display",
]
