"""Pictures: what stands where, on which scale, and that nothing is cut off."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from zf_lightning.figures.canvas import EMPTY, HATCH, MARGIN, to_display
from zf_lightning.figures.filters import filter_sheet
from zf_lightning.figures.grid import (
    CAPTION_HEIGHT,
    GUTTER,
    HAIRLINE,
    class_caption,
    class_counts,
    layer_panel,
    projection_scale,
    readable,
    tile_size,
)
from zf_lightning.figures.pairs import pair_sheet

SIDE = 8


def arrays(maps: int = 2, images: int = 9, side: int = SIDE) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    shape = (maps, images, 3, side, side)
    return {
        "patches": generator.integers(1, 250, shape, dtype=np.uint8),
        "projections": generator.standard_normal(shape).astype(np.float32),
        "inside": np.ones((maps, images, side, side), dtype=bool),
        "activations": np.sort(generator.random((maps, images)).astype(np.float32) + 1)[:, ::-1],
    }


def panel(values: dict[str, Any], **options: Any) -> NDArray[np.uint8]:
    options = {"feature_maps": range(len(values["patches"])), **options}
    return np.asarray(layer_panel(**values, **options))


def tile_at(
    picture: NDArray[np.uint8], rank: int, *, block: int = 0, side: int = SIDE
) -> NDArray[np.uint8]:
    """The pixels of a tile of the first feature map, of a panel without a title."""
    across = 3 * side + 2 * HAIRLINE
    left = MARGIN + block * (across + GUTTER) + rank % 3 * (side + HAIRLINE)
    top = MARGIN + CAPTION_HEIGHT + rank // 3 * (side + HAIRLINE)
    return picture[top : top + side, left : left + side]


def test_each_patch_stands_beside_its_projection() -> None:
    values = arrays()
    picture = panel(values, tile=SIDE)
    scale = projection_scale(values["projections"][0], values["inside"][0])
    for rank in range(9):
        patch = np.moveaxis(values["patches"][0, rank], 0, -1)
        assert np.array_equal(tile_at(picture, rank), patch)
        projection = np.moveaxis(values["projections"][0, rank], 0, -1)
        shown = tile_at(picture, rank, block=1)
        assert np.array_equal(shown, to_display(projection, scale=scale))


def test_projections_of_a_feature_map_share_one_scale() -> None:
    values = arrays(maps=1)
    values["projections"][:] = 0
    values["projections"][0, 0, :, :, :] = 4
    values["projections"][0, 5, :, :, :] = -2
    picture = panel(values, tile=SIDE, parts="projections")
    assert (tile_at(picture, 0) == 255).all()
    assert (tile_at(picture, 5) == 128 - 127 / 2 - 0.5).all()
    assert (tile_at(picture, 1) == 128).all()


def test_scale_of_another_feature_map_does_not_matter() -> None:
    values = arrays(maps=2)
    before = tile_at(panel(values, tile=SIDE), 4, block=1)
    values["projections"][1] *= 1000
    assert np.array_equal(tile_at(panel(values, tile=SIDE), 4, block=1), before)


def test_what_lies_beyond_the_border_is_hatched() -> None:
    values = arrays(maps=1)
    values["inside"][0, 3, :, :5] = False
    picture = panel(values, tile=SIDE)
    for block in (0, 1):
        shown = tile_at(picture, 3, block=block)
        assert set(np.unique(shown[:, :5])) == set(HATCH)
    patch = np.moveaxis(values["patches"][0, 3], 0, -1)
    assert np.array_equal(tile_at(picture, 3)[:, 5:], patch[:, 5:])


def test_border_of_a_reduced_patch_is_not_darkened() -> None:
    values = arrays(maps=1, side=100)
    values["patches"][:] = 250
    values["inside"][0, 3, :, :37] = False
    values["patches"][0, 3, :, :, :37] = 0
    shown = tile_at(panel(values, tile=40), 3, side=40)
    assert set(np.unique(shown)) == {250, *HATCH}


@pytest.mark.parametrize("activation", [0, -np.inf])
def test_tiles_without_an_image_are_empty(activation: float) -> None:
    values = arrays(maps=1, side=60)
    values["activations"] = values["activations"].copy()
    values["activations"][0, 7:] = activation
    picture = panel(values, tile=60)
    for rank, block in ((7, 0), (8, 1)):
        shown = tile_at(picture, rank, block=block, side=60)
        assert (shown == EMPTY).all(), "the map is not dead: no word says so"
    assert len(np.unique(tile_at(picture, 6, side=60))) > 100


def test_parts() -> None:
    values = arrays()
    whole = layer_panel(**values, feature_maps=[0, 1], columns=2)
    patches = layer_panel(**values, feature_maps=[0, 1], parts="patches", columns=2)
    assert whole.mode == "RGB" and patches.width < whole.width
    shown = panel(values, tile=SIDE, parts="patches", columns=2)
    assert np.array_equal(tile_at(shown, 8), np.moveaxis(values["patches"][0, 8], 0, -1))


@pytest.mark.parametrize(
    ("side", "expected"), [(7, 56), (11, 66), (27, 81), (56, 56), (75, 75), (139, 96), (224, 96)]
)
def test_tiles_are_legible(side: int, expected: int) -> None:
    assert tile_size(side, side) == (expected, expected)


def test_tiles_keep_their_shape() -> None:
    assert tile_size(20, 30) == (40, 60)
    assert tile_size(100, 200) == (48, 96)


def test_text_changes_the_picture_and_is_not_cut_off() -> None:
    values = arrays(maps=1, side=60)
    plain = layer_panel(**values, feature_maps=[7])
    titled = layer_panel(
        **values, feature_maps=[7], title="conv5 · epoch 12 of a long run " * 3, subtitle="x"
    )
    assert titled.width > plain.width and titled.height > plain.height
    corner = np.asarray(titled)[:, -MARGIN:]
    assert (corner == 255).all()
    captioned = layer_panel(**values, feature_maps=[7], captions=["dog " * 100])
    assert captioned.size == plain.size
    assert not np.array_equal(np.asarray(captioned), np.asarray(plain))
    assert (np.asarray(captioned)[:, -MARGIN:] == 255).all()


def test_non_finite_projections_are_grey() -> None:
    values = arrays(maps=1)
    values["projections"][0, 2] = np.nan
    picture = panel(values, tile=SIDE)
    assert (tile_at(picture, 2, block=1) == 128).all()
    values["projections"][:] = np.nan
    assert (tile_at(panel(values, tile=SIDE), 0, block=1) == 128).all()


def test_nothing_to_draw() -> None:
    assert layer_panel(**arrays(maps=0), feature_maps=[], title="conv1").width > 0


def test_to_display() -> None:
    shown = to_display(np.array([-9.0, -1.0, 0.0, 0.5, 1.0, np.inf, np.nan]), scale=1.0)
    assert shown.tolist() == [1, 1, 128, 192, 255, 255, 128]
    assert to_display(np.array([1.0, -1.0]), scale=0.0).tolist() == [128, 128]


def test_captions() -> None:
    assert class_caption(["cat", "dog", "dog", "bird"]) == "dog 2 of 4"
    assert class_caption(["cat", "dog", "dog", "cat"]) == "cat 2 of 4"
    assert class_caption(["bird", "cat", "dog"]) == "3 classes"
    assert class_caption(["cat"]) == "cat 1 of 1"
    assert class_caption(["", "cat", ""]) == "cat 1 of 3"
    assert class_caption(["", ""]) == "" == class_caption([])
    assert class_counts(["cat", "", "dog", "dog"]) == "dog 2, cat 1" and class_counts([""]) == ""
    assert [readable(value) for value in (0.01234, 3.0, 123.4, 2497.4, 1e9)] == [
        "0.0123",
        "3",
        "123",
        "2,497",
        "1e+09",
    ]


def test_filter_sheet() -> None:
    filters = np.zeros((5, 3, 7, 7), dtype=np.float32)
    filters[1, 0, 0, 0] = 2
    filters[4, 2, 6, 6] = -1
    picture = np.asarray(filter_sheet(filters, columns=3))
    assert picture.shape == (2 * MARGIN + 2 * 56 + 4, 2 * MARGIN + 3 * 56 + 2 * 4, 3)
    assert picture[MARGIN, MARGIN + 60].tolist() == [255, 128, 128]
    assert picture[MARGIN + 115, MARGIN + 115].tolist() == [128, 128, 1]
    shared = np.asarray(filter_sheet(filters, columns=3, shared_scale=True))
    assert shared[MARGIN + 115, MARGIN + 115].tolist() == [128, 128, 64]
    assert isinstance(filter_sheet(filters[:, :1], title="conv1"), Image.Image)


def test_a_sheet_of_pairs_is_as_wide_as_its_title() -> None:
    pixels = np.zeros((9, 12, 3), np.uint8)
    narrow = pair_sheet([(pixels, pixels, "0.99")], title="Pairs")
    wide = pair_sheet([(pixels, pixels, "0.99")], title="Pairs " * 30, subtitle="of two sets")
    several = pair_sheet([(pixels, pixels, "0.99")] * 5, title="Pairs")
    assert wide.width > narrow.width and several.height > narrow.height
    assert (np.asarray(wide)[:, -MARGIN:] == 255).all()
