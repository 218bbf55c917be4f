"""Files that are written whole or not at all."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any


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
    finally:
        unfinished.unlink(missing_ok=True)
    return path
