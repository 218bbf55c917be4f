"""Tiles of one image, stored once: each comes back as it was."""

from dataclasses import replace

import torch

from tests.atlases import noise_atlas
from zf_lightning.atlas import LayerAtlas
from zf_lightning.atlas.seen import Seen, patches_of, seen_of
from zf_lightning.deconv.receptive_field import Window, cut_out

SIZE = (20, 24)


def layer_of(
    images: torch.Tensor, indices: list[list[int]], tiles: list[list[list[int]]], size: int
) -> LayerAtlas:
    """A layer whose tiles show `images` `[N, 3, H, W]`; -1 where there is no image."""
    numbers, corners = torch.tensor(indices), torch.tensor(tiles)
    some = noise_atlas([("a", *numbers.shape)], images=numbers.shape[1], size=size).layers["a"]
    flat = numbers.flatten().clamp(min=0)
    patches = cut_out(images, flat, *corners.flatten(0, 1).unbind(-1), (size, size))
    patches[numbers.flatten() < 0] = 0
    shape = (*numbers.shape, 3, size, size)
    drawn = torch.arange(len(numbers))
    return replace(
        some, indices=numbers, drawn=drawn, tiles=corners, patches=patches.reshape(shape)
    )


def photographs(number: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (number, 3, *SIZE), dtype=torch.uint8, generator=generator)


def again(seen: Seen, number: int, layer: LayerAtlas) -> torch.Tensor:
    size = (layer.patches.shape[3], layer.patches.shape[4])
    return patches_of(seen, seen.sources[number], layer.tiles, size, SIZE)


def test_each_image_is_stored_once_as_far_as_it_is_shown() -> None:
    images = photographs(3)
    layers = [
        # Overlapping, beyond two borders, and a place without an image.
        layer_of(images, [[0, 2], [0, -1]], [[[2, 3], [-2, 20]], [[5, 4], [0, 0]]], 6),
        layer_of(images, [[0]], [[[3, 8]]], 4),
        # Wholly in padding.
        layer_of(images, [[1]], [[[-9, 0]]], 5),
    ]
    seen = seen_of(layers, SIZE)
    assert seen.boxes == [Window(2, 3, 9, 9), Window(0, 20, 4, 4)]
    assert [source.tolist() for source in seen.sources] == [[[0, 1], [0, -1]], [[0]], [[-1]]]
    # Where no tile lies, nothing.
    shown = torch.from_numpy(seen.parts[0])
    assert not shown[:, 0, 6:].any() and shown[:, 0, :6].all()
    for number, layer in enumerate(layers):
        assert torch.equal(again(seen, number, layer), layer.patches)


def test_a_tile_that_differs_from_its_image_is_kept() -> None:
    images = photographs(2)
    layers = [
        layer_of(images, [[0, 1]], [[[2, 2], [2, 2]]], 6),
        layer_of(images, [[0]], [[[4, 4]]], 6),
    ]
    layers[0].patches[0, 0, 1, 3, 3] ^= 1
    seen = seen_of(layers, SIZE)
    assert len(seen.parts) == 3
    for number, layer in enumerate(layers):
        assert torch.equal(again(seen, number, layer), layer.patches)


def test_of_random_tiles() -> None:
    images = photographs(7)
    generator = torch.Generator().manual_seed(1)
    layers = []
    for size, maps, ranks in ((3, 8, 9), (11, 5, 4), (20, 2, 9)):
        indices = torch.randint(-1, 7, (maps, ranks), generator=generator)
        tiles = torch.randint(-size, 22, (maps, ranks, 2), generator=generator)
        layers.append(layer_of(images, indices.tolist(), tiles.tolist(), size))
    seen = seen_of(layers, SIZE)
    assert len(seen.parts) <= 7
    for number, layer in enumerate(layers):
        assert torch.equal(again(seen, number, layer), layer.patches)


def test_nothing_is_shown() -> None:
    layer = layer_of(photographs(1), [[-1]], [[[0, 0]]], 4)
    seen = seen_of([layer, replace(layer, drawn=layer.drawn[:0], tiles=layer.tiles[:0])], SIZE)
    assert seen.parts == [] and seen.boxes == []
    assert torch.equal(again(seen, 0, layer), layer.patches)
