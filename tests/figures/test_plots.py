"""Figures with axes: that they show what they are given, and refuse nothing that can happen."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from zf_lightning.figures.comparison import Panel, Series, comparison_figure
from zf_lightning.figures.correspondence import correspondence_figure
from zf_lightning.figures.evolution import JUMP, evolution_curves, evolution_panel
from zf_lightning.figures.filters import FilterStatistics, filter_statistics_figure
from zf_lightning.figures.invariance import InvarianceRow, invariance_figure
from zf_lightning.figures.occlusion import OcclusionPanels, occlusion_figure, projection_tiles
from zf_lightning.figures.style import COLOURS, distinct, first_name, to_svg

RNG = np.random.default_rng(0)


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5))


def share(picture: Image.Image, colour: tuple[int, ...]) -> float:
    """Share of a picture's pixels that have a colour."""
    return float((np.asarray(picture) == colour).all(-1).mean())


def panels(**changes: Any) -> OcclusionPanels:
    values: dict[str, Any] = {
        "name": "a_photograph_with_a_very_long_name_indeed.jpg",
        "picture": RNG.integers(0, 255, (3, 40, 50), dtype=np.uint8),
        "tops": range(0, 33, 4),
        "lefts": range(0, 43, 4),
        "size": 8,
        "worst": (8, 12),
        "layer": "features.12.expand3x3",
        "feature_map": 7,
        "activation": RNG.random((9, 11)),
        "projection": RNG.standard_normal((3, 20, 20)),
        "other_projections": np.zeros((0, 3, 20, 20)),
        "class_name": "tabby, tabby cat",
        "probability": RNG.random((9, 11)),
        "unoccluded_probability": 0.9,
        "most_probable": np.zeros((9, 11), np.int64),
    }
    return OcclusionPanels(**{**values, **changes})


def test_classes_have_the_share_of_colour_that_they_have_of_positions() -> None:
    names = ["tabby, tabby cat", "dog", "car"]
    most_probable = np.zeros((9, 11), np.int64)
    most_probable[:, :3] = 2
    picture = occlusion_figure([panels(most_probable=most_probable)], names)
    first, second = share(picture, rgb(COLOURS[0])), share(picture, rgb(COLOURS[1]))
    # The patches of the legend add a little.
    assert second / first == pytest.approx(3 / 8, rel=0.15)
    alone = occlusion_figure([panels()], names)
    assert share(alone, rgb(COLOURS[1])) == 0


def test_more_classes_than_colours_are_others() -> None:
    most_probable = np.arange(99).reshape(9, 11)
    picture = occlusion_figure([panels(most_probable=most_probable)], ["cat"])
    assert share(picture, rgb("#B8BCC2")) > 0.02


def test_a_class_may_be_called_like_a_formula_or_a_tag() -> None:
    names = [r"$\frac{", "</svg><script>alert(1)</script>"]
    most_probable = np.arange(99).reshape(9, 11) % 2
    row = panels(most_probable=most_probable, class_name=names[0], name="$$_{x.jpg")
    assert occlusion_figure([row], names).width > 1000
    figure = comparison_figure(names, [Panel("%", [Series(names[1], [1.0, 2.0])])])
    svg = to_svg(figure)
    assert "<script" not in svg and svg.count("</svg>") == 1


def test_flat_maps_and_many_rows_are_drawn() -> None:
    flat = panels(
        probability=np.ones((9, 11)),
        activation=np.zeros((9, 11)),
        worst=None,
        projection=np.zeros((3, 20, 20)),
    )
    one = occlusion_figure([flat], ["cat"])
    three = occlusion_figure([flat, panels(), panels()], ["cat"])
    assert one.width == three.width and three.height == pytest.approx(3 * one.height, abs=3)


def test_projections_share_a_scale_and_the_own_goes_first() -> None:
    own, other = np.zeros((3, 6, 6)), np.zeros((4, 3, 6, 6))
    own[0, 2, 3] = 1
    other[:, 1, 4, 4] = -2
    tiles = projection_tiles(own, other)
    assert len(tiles) == 4 and tiles[0].shape == (6, 6, 3)
    assert tiles[0][2, 3, 0] > 128 and tiles[1][4, 4, 1] < 128
    assert abs(int(tiles[1][4, 4, 1]) - 128) > abs(int(tiles[0][2, 3, 0]) - 128)
    # Those of another size, as of a network with larger inputs, cannot stand beside it.
    assert len(projection_tiles(own, np.zeros((1, 3, 9, 9)))) == 1


def test_jumps_are_marked_and_dead_maps_stay_empty() -> None:
    projections = RNG.standard_normal((3, 2, 3, 60, 60)).astype(np.float32)
    options: dict[str, Any] = {"feature_maps": [4, 9], "epochs": [1, 2, 5]}
    inside, activations = np.ones((3, 2, 60, 60), bool), np.ones((3, 2))
    jumped = np.zeros((3, 2), bool)
    none = evolution_panel(projections, inside, activations, jumped, **options)
    assert share(none, JUMP) == 0
    jumped[1, 0] = True
    one = evolution_panel(projections, inside, activations, jumped, **options)
    jumped[2, 1] = True
    assert share(one, JUMP) > 0
    two = evolution_panel(projections, inside, activations, jumped, **options)
    assert share(two, JUMP) == pytest.approx(2 * share(one, JUMP))
    activations[2, 1] = 0
    dead = evolution_panel(projections, inside, activations, jumped, **options)
    assert share(dead, JUMP) == pytest.approx(share(one, JUMP)), "nothing was drawn to mark"


def test_curves_are_drawn_in_colours_of_their_own() -> None:
    layers = {f"conv{number}": np.linspace(0.1 * number, 1, 4) for number in range(1, 4)}
    later = {layer: values[1:] for layer, values in layers.items()}
    picture = evolution_curves([1, 2, 5, 10], layers, later, later, top=9)
    assert all(share(picture, rgb(colour)) > 0 for colour in COLOURS[:3])
    assert share(picture, rgb(COLOURS[3])) == 0


def test_five_images_at_most_and_every_part_are_shown() -> None:
    parts = ("right_eye", "nose", "random")
    values = {"conv5": {part: (0.1, 0.02) for part in parts}}
    sizes = []
    for number in (2, 5, 9):
        pictures = RNG.integers(0, 255, (number, 3, 30, 30), dtype=np.uint8)
        masked = {part: pictures for part in parts}
        sizes.append(correspondence_figure(pictures, masked, values).height)
    assert sizes[0] < sizes[1] == sizes[2]


def test_pictures_and_their_curves_are_drawn() -> None:
    pictures = RNG.integers(0, 255, (5, 3, 30, 30), dtype=np.uint8)
    rows = [
        InvarianceRow(
            "scale",
            "ratio",
            [1.0, 1.4, 1.8],
            {"conv1": RNG.random((3, 9)), "fc7": RNG.random((3, 9))},
            RNG.random((3, 9)),
            pictures,
            [1, 1.2, 1.4, 1.6, 1.8],
        )
    ]
    picture = invariance_figure(rows, ["lawn mower"] * 9)
    assert all(share(picture, rgb(colour)) > 0 for colour in COLOURS)


def test_networks_stand_side_by_side() -> None:
    def network(name: str) -> FilterStatistics:
        bands = {"low": 0.2, "mid": 0.5, "high": 0.3, "aliased": 0.1}
        return FilterStatistics(
            name,
            RNG.random(20),
            RNG.random(20),
            np.arange(4) / 8,
            RNG.random(4),
            bands,
            bands,
            (2, 2),
        )

    one = filter_statistics_figure([network("clipped")], rms_limit=0.1)
    both = filter_statistics_figure([network("clipped"), network("free")], rms_limit=0.1)
    assert share(one, rgb(COLOURS[1])) == 0 < share(both, rgb(COLOURS[1]))


def test_names_are_short_and_told_apart() -> None:
    assert first_name("tabby, tabby cat") == "tabby"
    assert first_name("right_eye") == "right eye"
    assert distinct(["cat", "dog", "cat"]) == ["cat (1)", "dog", "cat (2)"]
