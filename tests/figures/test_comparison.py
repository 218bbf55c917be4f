"""The plot of a table."""

import math

import numpy as np

from zf_lightning.figures.comparison import Series, comparison_plot


def test_rows_are_drawn_from_above_and_missing_values_are_left_out() -> None:
    labels = ["first", "second", "third"]
    low = comparison_plot(labels, [("x", [Series("a", [0.0, 5.0, 10.0])])])
    pixels = np.asarray(low).astype(int)
    # The first series is blue: its marks go down and to the right.
    blue = (pixels[..., 2] > 150) & (pixels[..., 0] < 30)
    rows, columns = np.nonzero(blue)
    assert np.corrcoef(rows, columns)[0, 1] > 0.95
    gap = comparison_plot(labels, [("x", [Series("a", [0.0, math.nan, 10.0])])])
    blue_of_gap = (np.asarray(gap)[..., 2].astype(int) > 150) & (np.asarray(gap)[..., 0] < 30)
    assert 0 < blue_of_gap.sum() < blue.sum()


def test_a_picture_grows_with_its_rows_and_panels() -> None:
    series = [Series("ours", [1.0], [0.5]), Series("theirs", [math.nan], hollow=True)]
    one = comparison_plot(["row"], [("error", series)], title="what it is of")
    more = comparison_plot(["row"] * 5, [("error", [Series("a", [1.0] * 5)])] * 2)
    assert more.width > 1.5 * one.width
    assert more.height > one.height
