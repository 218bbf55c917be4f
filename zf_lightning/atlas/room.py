"""What the top-k images of feature maps take of memory and disk, estimated before the search."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from zf_lightning.deconv.receptive_field import ReceptiveField
from zf_lightning.errors import UserError
from zf_lightning.system.memory import available_memory, size_in_words

#: A top image of a feature map in memory: its row of the table (32), those that are merged and
#: sorted with it, and what an atlas says of it.
BYTES_A_TOP_IMAGE = 256
#: A pixel of a tile: three colours as uint8, three steps as int16, and whether it is in the image.
BYTES_A_PIXEL = 10
#: The same while a layer is compressed and drawn; measured: 22.
BYTES_A_PIXEL_DRAWN = 25
#: On the disk, where it is compressed most.
BYTES_A_PIXEL_ON_DISK = 3


def check_room(
    option: str,
    top: int,
    feature_maps: Mapping[str, int],
    fields: Mapping[str, ReceptiveField],
    *,
    drawn: Mapping[str, Sequence[int]],
    on_disk: Mapping[str, Sequence[int]],
    folder: str | Path,
    tables: int = 1,
    kept_bytes: int = 0,
) -> None:
    """Refuse a number of top images that cannot fit, before anything is computed.

    Args:
        option: that says `top`, for the message.
        feature_maps: number of feature maps of each layer.
        fields: receptive field of each layer.
        drawn: feature maps of each layer whose tiles are in memory at once.
        on_disk: those whose tiles are written to `folder`.
        tables: tables of top images on this machine: of processes, of candidates.
        kept_bytes: whatever else is kept in memory.

    Raises:
        UserError: with the option, the need and what there is.
    """
    memory = kept_bytes + BYTES_A_TOP_IMAGE * tables * top * sum(feature_maps.values())
    memory += BYTES_A_PIXEL_DRAWN * _pixels(top, fields, drawn)
    disk = BYTES_A_PIXEL_ON_DISK * _pixels(top, fields, on_disk)
    there = next(path for path in Path(folder, "file").absolute().parents if path.exists())
    for place, needed, free in (
        ("of memory", memory, available_memory()),
        (f"on the disk of {folder}", disk, shutil.disk_usage(there).free),
    ):
        if free is not None and needed > free:
            raise UserError(
                f"{option}={top} with {sum(map(len, on_disk.values()))} feature maps to project "
                f"needs about {size_in_words(needed)} {place}, where {size_in_words(free)} are "
                "free: lower it, or choose fewer feature maps or layers."
            )


def _pixels(
    top: int, fields: Mapping[str, ReceptiveField], maps: Mapping[str, Sequence[int]]
) -> int:
    sizes = {layer: fields[layer].tile_size for layer in maps}
    return sum(top * len(maps[layer]) * high * wide for layer, (high, wide) in sizes.items())
