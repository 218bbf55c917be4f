"""Files that are written whole or not at all and stored once; names that stay below a folder."""

import filecmp
import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zf_lightning.errors import UserError

#: A file that `write_whole` has not finished, beside `NAME`: `.NAME.0a1b2c3d.unfinished`.
UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}\.unfinished")
#: The lock of the run that is at work in a folder.
LOCK = ".lock"


def write_whole(path: str | Path, contents: str | bytes | Callable[[Path], Any]) -> Path:
    """Write a file atomically: readers see the old file or the new one, never a part of it.

    `contents` is text (UTF-8), bytes, or a function that writes to the path that it is given. It
    goes to a file of another name in the same folder (created if need be), is flushed to the disk
    and takes its name last, so that neither a kill nor a power failure leaves half a file, and
    several processes may write the same one. An exception leaves the old file and nothing else.
    The permissions are the ordinary ones, also where a library would choose others. Returns `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.unfinished")
    try:
        with unfinished.open("xb") as file:
            ordinary = os.fstat(file.fileno()).st_mode
            if not callable(contents):
                file.write(contents.encode() if isinstance(contents, str) else contents)
        if callable(contents):
            contents(unfinished)
        unfinished.chmod(ordinary & 0o777)
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as problem:
        # A disk that is full while a file is open has no name in Python's error; others have that
        # of the file that is about to be renamed.
        if problem.errno is not None:
            problem.filename = str(path)
        raise
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def remove_unfinished(folder: Path) -> None:
    """Delete what writers that were killed left in a folder in which nobody is at work.

    Not below folders that another run may have claimed.
    """
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not Path(place, name, LOCK).exists()]
        for name in filter(UNFINISHED.fullmatch, files):
            Path(place, name).unlink(missing_ok=True)


def below(folder: Path, name: str, *, listed_in: object) -> Path:
    """The file `name` of `folder`, as a list or a table of a stranger's has it.

    Raises UserError, naming the list, for a name that leads out of the folder.
    """
    inside = os.path.normpath(name)
    if os.path.isabs(inside) or inside.split(os.sep)[0] == os.pardir or "\0" in name:
        raise UserError(f"{listed_in} names {name!r}, which is outside of {folder}: refused.")
    return folder / name


def share(path: Path, copy: Path) -> None:
    """Make a copy of a file another name of it, so that the disk holds it once.

    Both must be replaced, never written to. A copy that differs, or lies on another disk, stays.
    """
    if not filecmp.cmp(path, copy, shallow=False):
        return
    unfinished = copy.with_name(f".{copy.name}.{uuid.uuid4().hex[:8]}.unfinished")
    try:
        os.link(path, unfinished)
    except OSError:
        return
    unfinished.replace(copy)
    # Of two names of one file, `replace` leaves both.
    unfinished.unlink(missing_ok=True)
