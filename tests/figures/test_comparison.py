"""The plot of a table."""

import math

import numpy as np
from PIL import Image

from zf_lightning.figures.comparison import Panel, Series, comparison_figure
from zf_lightning.figures.style import to_image, to_svg


def plot(labels: list[str], *panels: Panel) -> Image.Image:
    return to_image(comparison_figure(labels, panels))


def test_rows_are_drawn_from_above_and_missing_values_are_left_out() -> None:
    labels = ["first", "second", "third"]

    def blue(values: list[float]) -> np.ndarray:
        """Where the marks of the first series are, without those of the legend."""
        pixels = np.asarray(plot(labels, Panel("x", [Series("a", values)]))).astype(int)
        return ((pixels[..., 2] > 150) & (pixels[..., 0] < 30))[60:]

    whole, gap = blue([0.0, 5.0, 10.0]), blue([0.0, math.nan, 10.0])
    assert np.corrcoef(*np.nonzero(whole))[0, 1] > 0.95
    assert 0 < gap.sum() < whole.sum()


def test_a_picture_grows_with_its_rows_and_panels() -> None:
    ours = Series("ours", [1.0], [(0.5, 2.0)], published=[math.nan])
    one = plot(["row"], Panel("error", [ours]))
    more = plot(["row"] * 5, *[Panel("error", [Series("a", [1.0] * 5)])] * 2)
    assert more.width > 1.5 * one.width
    assert more.height > one.height


def test_the_same_plot_is_the_same_text() -> None:
    panel = Panel("error", [Series("ours", [1.0, -2.0], [(0.5, 2.0), (math.nan, math.nan)])])
    first, second = (to_svg(comparison_figure(["a", "b"], [panel])) for _ in range(2))
    assert first == second and first.startswith("<svg")
