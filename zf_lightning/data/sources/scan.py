"""What a folder holds: images, class folders, and neither.

Images are files with a name like one, at any depth. Links are followed, and those that lead nowhere
or in a circle are listed too: they are reported as unreadable when their turn comes, so that
nothing is lost silently. Hidden files and folders (`._1.jpg`, `.cache`) are left out, and so are
pipes and devices, which could keep a reader waiting for ever. A link to a folder that it lies in is
not followed.
"""

import os
from collections import Counter
from pathlib import Path

from zf_lightning.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm")


def image_names(
    folder: Path, *, nested: bool = True, others: Counter[str] | None = None
) -> list[str]:
    """Paths of the images below `folder`, relative to it and sorted; none if it is no folder.

    With `nested` false only those directly in it. `others` counts by their suffixes the files that
    are left out.
    Raises UserError for a folder that may not be read.
    """
    found: list[str] = []
    if folder.is_dir():
        above = frozenset({_identity(folder)}) if nested else None
        _walk(folder, "", above, found, others)
    return sorted(found)


def folder_names(folder: Path) -> list[str]:
    """Names of the folders in `folder`, sorted; raises UserError if it may not be read."""
    found = (entry.name for entry in _entries(folder) if _is_folder(entry))
    return sorted(name for name in found if not name.startswith("."))


def _walk(
    folder: Path,
    prefix: str,
    above: frozenset[tuple[int, int]] | None,
    found: list[str],
    others: Counter[str] | None,
) -> None:
    for entry in _entries(folder):
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            identity = _identity(entry.path)
            if above is not None and identity not in above:
                _walk(Path(entry.path), f"{prefix}{entry.name}/", above | {identity}, found, others)
        elif not entry.name.lower().endswith(IMAGE_SUFFIXES):
            if others is not None:
                others[Path(entry.name).suffix or entry.name] += 1
        elif _is_file(entry):
            found.append(prefix + entry.name)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as problem:
        raise UserError(f"The folder {folder} cannot be read ({problem.strerror}).") from problem


def _identity(folder: Path | str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        # A circle of links.
        return True
