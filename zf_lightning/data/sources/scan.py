"""The images and the class folders in a folder: one scan for everything that reads folders.

Images are files with the extension of one, at any depth. Links are followed, and those that lead
nowhere or in a circle are listed too: they are reported as unreadable when their turn comes, so
that nothing is lost silently. Hidden files and folders (`._1.jpg`, `.cache`) and those of systems
(`__MACOSX`, `@eaDir`) are left out, and so are pipes and devices, which could keep a reader waiting
for ever. A link to a folder that it lies in is not followed.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from zf_lightning.errors import UserError

#: Folders that systems put beside a user's, with copies and thumbnails of the images; lower case.
SYSTEM_FOLDERS = {
    "__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found"
}  # fmt: skip
#: Folders where only what lies directly in one is read.
DEEPER = "folders in class folders"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm")


def image_names(
    folder: Path, *, nested: bool = True, ignored: Counter[str] | None = None
) -> list[str]:
    """Paths of the images below `folder`, relative to it and sorted; none if it is not a folder.

    With `nested` false only those directly in it. `ignored` counts what is left out, by the reason.
    Raises UserError for a folder that may not be read.
    """
    if not folder.is_dir():
        return []
    above = frozenset({_identity(folder)}) if nested else None
    return sorted(_walk(folder, "", above, Counter() if ignored is None else ignored))


def folder_names(folder: Path) -> list[str]:
    """Names of the folders in `folder`, sorted; raises UserError if it may not be read."""
    return sorted(entry.name for entry in _entries(folder, Counter()) if _is_folder(entry))


def count_beside(folder: Path, ignored: Counter[str]) -> None:
    """Count what lies in `folder` beside its class folders."""
    found: Counter[str] = Counter()
    loose = image_names(folder, nested=False, ignored=found)
    del found[DEEPER]
    ignored.update(found)
    if loose:
        ignored["images beside the class folders"] += len(loose)


def _walk(
    folder: Path | str,
    prefix: str,
    above: frozenset[tuple[int, int]] | None,
    ignored: Counter[str],
) -> Iterator[str]:
    """Names of images; `above` has the folders that lead here, or is None to stay in this one."""
    for entry in _entries(folder, ignored):
        if _is_folder(entry):
            identity = _identity(entry.path)
            if above is None:
                ignored[DEEPER] += 1
            elif identity in above:
                ignored["links to a folder that they lie in"] += 1
            else:
                yield from _walk(entry.path, f"{prefix}{entry.name}/", above | {identity}, ignored)
        elif not entry.name.lower().endswith(IMAGE_SUFFIXES):
            ignored[f"{Path(entry.name).suffix or entry.name} (no image extension)"] += 1
        elif _is_file(entry):
            yield prefix + entry.name
        else:
            ignored["pipes and devices"] += 1


def _entries(folder: Path | str, ignored: Counter[str]) -> list[os.DirEntry[str]]:
    kept = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.lower() in SYSTEM_FOLDERS:
                    ignored[f"{entry.name} (a system's folder)"] += 1
                elif entry.name.startswith("."):
                    ignored["hidden"] += 1
                else:
                    kept.append(entry)
    except OSError as problem:
        raise UserError(f"The folder {folder} cannot be read ({problem.strerror}).") from problem
    return kept


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
