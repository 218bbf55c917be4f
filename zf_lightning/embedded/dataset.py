"""The whole dataset as a folder of ordinary images, drawn once on all cores.

<root>/train/<class>/00012.jpg        likewise val/ and test/
<root>/masks/train/<class>/00012.png  the visible object: 255, all else: 0
<root>/parts.json                     parts, bounds and scale of every image
<root>/dataset.json                   version, seed and counts, written last
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from tqdm import tqdm

from zf_lightning.embedded.classes import CLASSES, PARTS
from zf_lightning.embedded.draw import SPLITS
from zf_lightning.embedded.worker import draw_all
from zf_lightning.errors import DamagedFile, UserError
from zf_lightning.system.cores import available_cores
from zf_lightning.system.sealed import read_json, write_json

VERSION = 1
"""Raised whenever the same seed would give other images."""

DEFAULT_COUNTS: dict[str, int] = {"train": 5000, "val": 1000, "test": 1000}


def draw_dataset(
    root: Path,
    *,
    seed: int = 0,
    counts: Mapping[str, int] | None = None,
    processes: int | None = None,
    progress: bool = True,
) -> Path:
    """Draw the dataset into the folder `root` unless it is there already, and return the folder.

    `counts` gives the number of images of each split (multiples of ten keep the classes balanced).
    The files are the same for any number of `processes` (all cores unless given). Several
    processes may call this at once: one draws, the others wait. An interrupted call leaves nothing
    at `root`. Raises UserError if `root` contains anything but exactly this dataset.
    """
    root = Path(root).absolute()
    wanted = _description(seed, counts)
    if _is_complete(root, wanted):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.parent / f".{root.name}.lock"):
        if _is_complete(root, wanted):  # drawn by another process while this one waited
            return root
        drawing = root.parent / f".{root.name}.drawing"
        if drawing.exists():  # left by an interrupted call
            shutil.rmtree(drawing)
        _draw_into(drawing, wanted, processes or available_cores(), progress)
        if root.exists():  # empty, as _is_complete found
            root.rmdir()
        drawing.rename(root)
    return root


def _description(seed: int, counts: Mapping[str, int] | None) -> dict[str, Any]:
    counts = dict(DEFAULT_COUNTS if counts is None else counts)
    if set(counts) - set(SPLITS) or not counts or min(counts.values()) < 0:
        raise UserError(
            f"counts is {counts}, but it must give numbers of images for {', '.join(SPLITS)}."
        )
    if seed < 0:
        raise UserError(f"The seed is {seed}, but it must not be negative.")
    ordered = {split: int(counts.get(split, 0)) for split in SPLITS}
    return {"name": "embedded", "version": VERSION, "seed": int(seed), "counts": ordered}


def _is_complete(root: Path, wanted: dict[str, Any]) -> bool:
    """Whether `root` is the wanted dataset; False if it is absent or empty, else UserError."""
    if not root.exists():
        return False
    if not root.is_dir():
        raise UserError(f"{root} is a file; give another folder for the embedded dataset.")
    try:
        found = read_json(root / "dataset.json")
    except DamagedFile as damage:
        raise UserError(f"{damage} Remove {root} to have the dataset drawn anew.") from None
    except (FileNotFoundError, NotADirectoryError):
        if any(root.iterdir()):
            raise UserError(
                f"{root} contains files that are not the embedded dataset; give another folder, or "
                "remove it to have the dataset drawn there."
            ) from None
        return False
    if found != wanted:
        raise UserError(
            f"{root} contains the dataset {json.dumps(found)}, but {json.dumps(wanted)} is wanted; "
            "give another folder, or remove it to have it drawn anew."
        )
    return True


def _draw_into(folder: Path, wanted: dict[str, Any], processes: int, progress: bool) -> None:
    counts = wanted["counts"]
    for split in SPLITS:
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True)
            (folder / "masks" / split / name).mkdir(parents=True)
    total = sum(counts.values())
    drawn = draw_all(folder, wanted["seed"], counts, min(processes, max(1, total // 10)))
    bar = tqdm(drawn, total=total, desc="drawing", unit="image", disable=not progress)
    images = dict(sorted(bar))
    assert len(images) == total
    parts = {"classes": {name: list(PARTS[name]) for name in CLASSES}, "images": images}
    write_json(folder / "parts.json", parts, indent=None)
    write_json(folder / "dataset.json", wanted)
