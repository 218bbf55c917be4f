"""Landmarks: from a CSV file (`file`, `<part>_x`, `<part>_y`) or the embedded `parts.json`."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zf_lightning.data.decode import STORED_SIZE, picture_size
from zf_lightning.errors import UserError
from zf_lightning.system.files import below
from zf_lightning.system.sealed import unsealed

#: An image, and by part its place (x, y) as it was written.
Described = tuple[Path, Mapping[str, Any]]


@dataclass(frozen=True)
class Landmarks:
    """Parts of N images."""

    files: tuple[Path, ...]
    #: By part `[N, 2]` (row, column) in pixels of the stored 256×256 picture.
    parts: dict[str, Tensor]


def read_landmarks(path: Path, folder: Path, parts: Sequence[str] | None = None) -> Landmarks:
    """Read a table, and find the images that it names in `folder`.

    Coordinates are pixels of each image as it is on the disk, x to the right and y down; columns
    without a partner are passed over. Of the embedded dataset's `parts.json` the images below
    `folder` are taken.
    Raises UserError for a table or an image that cannot be read, an image outside of `folder`, or
    a part that is not there.
    """
    drawn = path.suffix == ".json"
    try:
        text = path.read_text(encoding="utf-8-sig")
        described = unsealed(text, path=path)["images"] if drawn else {}
        rows = [] if drawn else list(csv.DictReader(text.splitlines(keepends=True)))
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as problem:
        raise UserError(f"landmarks={path} cannot be read ({problem}).") from None
    found = _of_drawn_images(path, described, folder) if drawn else _of_rows(path, rows, folder)
    named = [part for part in found[0][1] if all(part in places for _, places in found)]
    missing = [part for part in parts or () if part not in named]
    if missing or not named:
        which = f"no part {missing[0]}; it has" if missing else "no part common to its images;"
        raise UserError(f"landmarks={path} has {which} {', '.join(named) or 'choose a class'}.")
    sizes = [_image_size(file) for file, _ in found]
    chosen = {}
    for part in parts or named:
        places = []
        for number, ((_, of_image), size) in enumerate(zip(found, sizes, strict=True), 2):
            try:
                x, y = map(float, of_image[part])
                if not (math.isfinite(x) and math.isfinite(y)):
                    raise ValueError
            except (TypeError, ValueError):
                raise UserError(
                    f"landmarks={path}, line {number}: {part} has no position."
                ) from None
            places.append(in_stored_picture((y, x), size))
        chosen[part] = torch.tensor(places)
    return Landmarks(tuple(file for file, _ in found), chosen)


def _of_rows(path: Path, rows: Sequence[Mapping[str, Any]], folder: Path) -> list[Described]:
    columns = list(rows[0]) if rows else []
    named = [c[:-2] for c in columns if c and c.endswith("_x") and f"{c[:-2]}_y" in columns]
    if "file" not in columns or not named:
        raise UserError(
            f"landmarks={path} needs rows, a column file, and columns like nose_x and nose_y."
        )
    found: list[Described] = []
    for row in rows:
        file = below(folder, row["file"] or "", listed_in=f"landmarks={path}")
        found.append((file, {part: (row[f"{part}_x"], row[f"{part}_y"]) for part in named}))
    return found


def _of_drawn_images(path: Path, described: Mapping[str, Any], folder: Path) -> list[Described]:
    inside = folder.resolve()
    files = {
        below(path.parent.resolve(), name, listed_in=f"landmarks={path}"): one["parts"]
        for name, one in described.items()
    }
    found = [(file, parts) for file, parts in files.items() if file.is_relative_to(inside)]
    if not found or len({file.parent for file, _ in found}) > 1:
        raise UserError(
            f"landmarks={path} describes images of several classes: choose one, as "
            f"images={path.parent / 'test' / 'cat'}."
        )
    return found


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
        return picture_size(file)
    except FileNotFoundError:
        raise UserError(f"{file}, which the landmarks name, does not exist.") from None
    except (OSError, ValueError, SyntaxError) as problem:
        raise UserError(f"{file} cannot be read as an image ({problem}).") from None
