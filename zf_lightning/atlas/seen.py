"""What tiles show of each image, once: the tiles of one image overlap, in all layers."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from zf_lightning.atlas.layer import LayerAtlas
from zf_lightning.atlas.packing import Pixels
from zf_lightning.deconv.locality import Pair
from zf_lightning.deconv.receptive_field import Window


class Seen(NamedTuple):
    """Parts of images, and which of them each tile is cut out of."""

    #: `[3, h, w]` uint8 each; 0 where no tile lies.
    parts: list[Pixels]
    #: Where each part lies in its image.
    boxes: list[Window]
    #: Of each layer `[M, k]` int64: the part of each tile; -1 for one that shows nothing.
    sources: list[Tensor]


def seen_of(layers: Sequence[LayerAtlas], size: Pair) -> Seen:
    """Gather what the tiles of all layers show of images of `size`.

    A tile that differs from others of its image is a part by itself: nothing is lost of an atlas
    that was not made of one set of images.
    """
    whole: dict[int, Pixels] = {}
    boxes: dict[int, Window] = {}
    for layer in layers:
        for image, _, box, pixels in _shown(layer, size):
            if image not in whole:
                whole[image], boxes[image] = np.zeros((3, *size), np.uint8), box
            _at(whole[image], box)[:] = pixels
            boxes[image] = boxes[image].union(box)
    numbers = {image: number for number, image in enumerate(whole)}
    found = Seen([_at(whole[image], box) for image, box in boxes.items()], [*boxes.values()], [])
    for layer in layers:
        source = torch.full(layer.tiles.shape[:2], -1)
        for image, place, box, pixels in _shown(layer, size):
            number = numbers[image]
            if not np.array_equal(_at(whole[image], box), pixels):
                number = len(found.parts)
                found.parts.append(pixels)
                found.boxes.append(box)
            source[place] = number
        found.sources.append(source)
    return found


def patches_of(seen: Seen, source: Tensor, tiles: Tensor, tile_size: Pair, size: Pair) -> Tensor:
    """The patches `[M, k, 3, h, w]` uint8 of tiles `[M, k, 2]`, cut out of the parts `source`."""
    patches = torch.zeros(*tiles.shape[:2], 3, *tile_size, dtype=torch.uint8)
    numbers = source.tolist()
    for (row, rank), box, pixels in _tiles(patches, tiles, size):
        number = numbers[row][rank]
        if number >= 0:
            around = seen.boxes[number]
            inner = box._replace(top=box.top - around.top, left=box.left - around.left)
            pixels[:] = _at(seen.parts[number], inner)
    return patches


def _shown(layer: LayerAtlas, size: Pair) -> Iterator[tuple[int, tuple[int, int], Window, Pixels]]:
    """The tiles that show something, each with its image's index."""
    images = layer.indices[layer.drawn, : layer.tiles.shape[1]].tolist()
    for (row, rank), box, pixels in _tiles(layer.patches, layer.tiles, size):
        if images[row][rank] >= 0:
            yield images[row][rank], (row, rank), box, pixels


def _tiles(
    patches: Tensor, tiles: Tensor, size: Pair
) -> Iterator[tuple[tuple[int, int], Window, Pixels]]:
    """Each tile that lies in the image: its place, where it lies, a view of its pixels there."""
    views = patches.numpy()
    height, width = patches.shape[-2:]
    for row, corners in enumerate(tiles.tolist()):
        for rank, (top, left) in enumerate(corners):
            box = Window(top, left, height, width).clipped(size)
            if box.height and box.width:
                inner = box._replace(top=box.top - top, left=box.left - left)
                yield (row, rank), box, _at(views[row, rank], inner)


def _at(pixels: Pixels, box: Window) -> Pixels:
    return pixels[:, box.top : box.top + box.height, box.left : box.left + box.width]
