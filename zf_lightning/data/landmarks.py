"""Landmarks of images, from a CSV file with the columns `file`, `<part>_x`, `<part>_y`."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor

from zf_lightning.data.decode import STORED_SIZE
from zf_lightning.errors import UserError


@dataclass(frozen=True)
class Landmarks:
    """Parts of N images."""

    files: tuple[Path, ...]
    #: By part `[N, 2]` (row, column) in pixels of the stored 256×256 picture.
    parts: dict[str, Tensor]


def read_landmarks(path: Path, folder: Path, parts: Sequence[str] | None = None) -> Landmarks:
    """Read the table, and find the images that it names in `folder`.

    Coordinates are pixels of each image as it is on the disk, x to the right and y down; columns
    without a partner are passed over.
    Raises UserError for a table or an image that cannot be read, or a part that is not there.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as opened:
            rows = list(csv.DictReader(opened))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise UserError(f"landmarks={path} cannot be read ({problem}).") from None
    columns = list(rows[0]) if rows else []
    named = [c[:-2] for c in columns if c and c.endswith("_x") and f"{c[:-2]}_y" in columns]
    if "file" not in columns or not named:
        raise UserError(
            f"landmarks={path} needs rows, a column file, and columns like nose_x and nose_y."
        )
    missing = [part for part in parts or () if part not in named]
    if missing:
        raise UserError(f"landmarks={path} has no part {missing[0]}; it has {', '.join(named)}.")
    chosen = list(parts or named)
    files = tuple(folder / row["file"] for row in rows)
    places: dict[str, list[tuple[float, float]]] = {part: [] for part in chosen}
    for number, (row, file) in enumerate(zip(rows, files, strict=True), 2):
        size = _image_size(file)
        for part in chosen:
            try:
                x, y = float(row[f"{part}_x"]), float(row[f"{part}_y"])
                if not (math.isfinite(x) and math.isfinite(y)):
                    raise ValueError
            except (TypeError, ValueError):
                raise UserError(
                    f"landmarks={path}, line {number}: {part} has no position."
                ) from None
            places[part].append(in_stored_picture((y, x), size))
    return Landmarks(files, {part: torch.tensor(found) for part, found in places.items()})


def in_stored_picture(place: tuple[float, float], size: tuple[int, int]) -> tuple[float, float]:
    """A place (row, column) of an image of `size` (height, width), in its 256×256 picture.

    The picture is the centre square of the image with its shorter side scaled to 256.
    """
    scale = STORED_SIZE / min(size)
    return (
        (place[0] - size[0] / 2) * scale + STORED_SIZE / 2,
        (place[1] - size[1] / 2) * scale + STORED_SIZE / 2,
    )


def _image_size(file: Path) -> tuple[int, int]:
    """Height and width of an image, turned as the camera was held."""
    try:
        with Image.open(file) as image:
            width, height = ImageOps.exif_transpose(image).size
    except FileNotFoundError:
        raise UserError(f"{file}, which the landmarks name, does not exist.") from None
    except (OSError, ValueError) as problem:
        raise UserError(f"{file} cannot be read as an image ({problem}).") from None
    return height, width
