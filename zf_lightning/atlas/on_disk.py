"""Layers of an atlas as tensors of a file, compressed, and back.

What tiles show of an image is stored once for all layers (`seen`). What lies beyond a border
follows from where a tile begins, and is not stored.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from zf_lightning.atlas.layer import LayerAtlas, Mismatch
from zf_lightning.atlas.packing import (
    packed_images,
    packed_levels,
    packed_numbers,
    unpacked_images,
    unpacked_levels,
    unpacked_numbers,
)
from zf_lightning.atlas.seen import Seen, patches_of, seen_of
from zf_lightning.deconv.locality import Pair
from zf_lightning.deconv.receptive_field import Window, inside_image

FORMAT = "zf-lightning atlas 4"
#: The parts of images that tiles show, of all layers; the tensors of one have a slash in their
#: names.
SEEN, BOXES = "seen", "boxes"
#: Not compressed: the shapes of the others follow from theirs.
PLAIN = ("activations", "peaks")
#: Whole numbers of all feature maps, `[C, k]`, and of those that have tiles, `[M, k]`.
OF_ALL = ("indices", "labels", "rows", "columns")
OF_TILES = ("steps", "sources")


def tensors_of(layers: Mapping[str, LayerAtlas], size: Pair) -> dict[str, Tensor]:
    """All that a file holds of layers, whose images are of `size`."""
    seen = seen_of([*layers.values()], size)
    boxes = torch.tensor(seen.boxes, dtype=torch.int64).view(-1, 4)
    tensors = {SEEN: packed_images(seen.parts), BOXES: boxes}
    for (name, layer), source in zip(layers.items(), seen.sources, strict=True):
        numbers = {one: getattr(layer, one) for one in (*OF_ALL, "windows", "nans", "drawn")}
        numbers |= {"tiles": layer.tiles, "steps": layer.steps, "sources": source}
        found = {one: getattr(layer, one) for one in PLAIN}
        found |= {one: packed_numbers(value) for one, value in numbers.items()}
        found["levels"] = packed_levels(layer.levels)
        found |= {f"scores/{one}": samples for one, samples in layer.scores.items()}
        tensors |= {f"{name}/{one}": value for one, value in found.items()}
    return tensors


def header_of(layer: LayerAtlas) -> dict[str, Any]:
    """What a file says of a layer beside its tensors, as plain data."""
    return {
        "receptive_field": list(layer.receptive_field),
        "tile_size": list(layer.patches.shape[-2:]),
        "mismatches": [asdict(mismatch) for mismatch in layer.mismatches],
        "scores": [*layer.scores],
    }


def layers_of(
    tensors: Mapping[str, Tensor], headers: Mapping[str, Mapping[str, Any]], size: Pair
) -> dict[str, LayerAtlas]:
    """The layers of `tensors_of` and `header_of`.

    Raises one of KeyError, TypeError, ValueError and IndexError for what these did not make.
    """
    boxes = [Window(*box) for box in tensors[BOXES].tolist()]
    parts = unpacked_images(tensors[SEEN], [(box.height, box.width) for box in boxes])
    seen = Seen(parts, boxes, [])
    layers = {}
    for name, header in headers.items():
        stored = {
            key.removeprefix(f"{name}/"): value
            for key, value in tensors.items()
            if key.startswith(f"{name}/")
        }
        tile_size = (header["tile_size"][0], header["tile_size"][1])
        found = _layer(stored, seen, tile_size, size)
        layers[name] = complete(name, header, stored, found, size)
    return layers


def _layer(
    stored: Mapping[str, Tensor], seen: Seen, tile_size: Pair, size: Pair
) -> dict[str, Tensor]:
    """A layer's tensors, as they were."""
    maps, tiles = (stored[name].shape for name in PLAIN)
    shapes: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(OF_ALL, maps),
        **dict.fromkeys(OF_TILES, tiles),
        "windows": (*maps, 4),
        "nans": maps[:1],
        "drawn": tiles[:1],
        "tiles": (*tiles, 2),
    }
    found = {name: stored[name] for name in PLAIN}
    found |= {name: unpacked_numbers(stored[name], "int64", at) for name, at in shapes.items()}
    found["levels"] = unpacked_levels(stored["levels"], (*tiles, 3, *tile_size))
    source = found.pop("sources")
    found["patches"] = patches_of(seen, source, found["tiles"], tile_size, size)
    return found


def complete(
    name: str,
    header: Mapping[str, Any],
    stored: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    size: Pair,
) -> LayerAtlas:
    """A layer of its tensors, the scores among those `stored`, and its header."""
    return LayerAtlas(
        layer=name,
        receptive_field=tuple(header["receptive_field"]),
        mismatches=[Mismatch(**one) for one in header["mismatches"]],
        # Not in atlases of before 0.2.
        scores={one: stored[f"scores/{one}"] for one in header.get("scores", [])},
        inside=_inside(found, size),
        **found,
    )


def _inside(tensors: Mapping[str, Tensor], size: Pair) -> Tensor:
    """Where tiles lie inside the image; nowhere where there is no image."""
    maps, images, _, *tile = tensors["patches"].shape
    tops, lefts = tensors["tiles"].flatten(0, 1).unbind(-1)
    inside = inside_image(tops, lefts, (tile[0], tile[1]), size).view(maps, images, *tile)
    return inside & (tensors["indices"][tensors["drawn"], :images] >= 0)[..., None, None]
