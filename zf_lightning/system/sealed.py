"""Files that carry a checksum of their contents: JSON, tensors, and archives of torch and NumPy.

A flipped bit or a cut is found when they are read. The checksum (CRC-32, as zip has it) finds
damage; it is no signature. Files of earlier versions have none and are read as they are.
"""

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from operator import ne
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from zf_lightning.errors import DamagedFile
from zf_lightning.system.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

CHECKSUM = "checksum"
#: The comment of a sealed archive: this, and eight digits.
COMMENT = b"crc32="
COMMENT_BYTES = len(COMMENT) + 8


def names_checksum(name: str) -> bool:
    """Whether a name is `CHECKSUM`, or was before one of its letters changed."""
    return len(name) == len(CHECKSUM) and sum(map(ne, name, CHECKSUM)) <= 1


def sealed_text(content: Mapping[str, Any], *, indent: int | None = None) -> str:
    """A JSON object with its checksum as the last key."""
    # As it will be read: keys are text, tuples lists.
    content = json.loads(json.dumps(content))
    return json.dumps({**content, CHECKSUM: _checksum(content)}, indent=indent)


def unsealed(text: str | bytes, *, path: str | Path) -> dict[str, Any]:
    """The object of `sealed_text`, without its checksum.

    Raises DamagedFile, naming `path`, if it is something else.
    """
    try:
        content = json.loads(text)
    except ValueError as problem:
        raise DamagedFile.at(path, problem) from None
    if not isinstance(content, dict):
        raise DamagedFile.at(path)
    last = next(reversed(content), "")
    if last != CHECKSUM and names_checksum(last):
        raise DamagedFile.at(path, f"its {CHECKSUM} has lost its name")
    if CHECKSUM in content and content.pop(CHECKSUM) != _checksum(content):
        raise DamagedFile.at(path, f"its {CHECKSUM} differs; if you edited it, delete that line")
    return content


def write_json(path: str | Path, content: Mapping[str, Any], *, indent: int | None = 2) -> Path:
    """Write a JSON object with its checksum, whole or not at all."""
    return write_whole(path, sealed_text(content, indent=indent) + "\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Raises FileNotFoundError, and DamagedFile for other contents.
    """
    return unsealed(Path(path).read_bytes(), path=path)


def write_tensors(
    path: str | Path, kind: str, tensors: Mapping[str, "Tensor"], header: Mapping[str, Any]
) -> Path:
    """Write tensors as safetensors with a checksum, whole or not at all.

    Args:
        kind: what the file is; `header` is kept under this name.
        header: plain data.
    """
    from safetensors.torch import save

    content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    # One entry: safetensors writes several in random order, and equal files would differ.
    header = {**header, "tensors": _checksum_of(content)}
    return write_whole(path, save(content, {kind: sealed_text(header)}))


def read_tensors(path: str | Path, kind: str) -> tuple[dict[str, Any], dict[str, "Tensor"]]:
    """The header and the tensors of a file; the header is empty if it has none of this `kind`.

    Raises FileNotFoundError, and DamagedFile for other contents.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as problem:
        if isinstance(problem, FileNotFoundError):
            raise
        raise DamagedFile.at(path, problem) from None
    header = unsealed(metadata.get(kind, "{}"), path=path)
    if header.pop("tensors", None) not in (None, _checksum_of(tensors)):
        raise DamagedFile.at(path, f"the {CHECKSUM} of its tensors differs")
    return header, tensors


def seal_archive(path: str | Path) -> None:
    """Add the checksum of all its bytes to a zip archive, as its comment; readers pass over it."""
    with Path(path).open("rb+") as file:
        # An archive without a comment ends with the length of its comment.
        file.seek(-2, os.SEEK_END)
        file.write(COMMENT_BYTES.to_bytes(2, "little"))
        file.seek(0)
        checksum = _checksum_of_file(file)
        file.write(COMMENT + f"{checksum:08x}".encode())


def check_archive(path: str | Path) -> None:
    """Check a zip archive, as torch and NumPy write it, against its checksums.

    Where there is none of the whole, each of its parts has one.
    Raises FileNotFoundError, and DamagedFile.
    """
    with Path(path).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - COMMENT_BYTES - 2))
        # The comment's length stands before it; either may be what is damaged.
        length, comment = file.read(2), file.read()
        if comment.startswith(COMMENT) or length == COMMENT_BYTES.to_bytes(2, "little"):
            file.seek(0)
            checksum = _checksum_of_file(file, size - COMMENT_BYTES)
            if comment != COMMENT + f"{checksum:08x}".encode():
                raise DamagedFile.at(path, f"its {CHECKSUM} differs")
            return
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except Exception as problem:
        # A damaged archive fails in as many ways as it has fields.
        raise DamagedFile.at(path, problem) from None
    if part is not None:
        raise DamagedFile.at(path, f"the checksum of its part {part} differs")


def _checksum_of_file(file: IO[bytes], length: int | None = None) -> int:
    checksum = 0
    left = float("inf") if length is None else length
    while part := file.read(int(min(left, 1 << 20))):
        checksum = zlib.crc32(part, checksum)
        left -= len(part)
    return checksum


def _checksum(content: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(content, sort_keys=True).encode()):08x}"


def _checksum_of(tensors: Mapping[str, "Tensor"]) -> str:
    import torch

    checksum = 0
    for name, value in sorted(tensors.items()):
        checksum = zlib.crc32(f"{name} {value.dtype} {list(value.shape)}".encode(), checksum)
        checksum = zlib.crc32(value.flatten().view(torch.uint8).numpy().data, checksum)
    return f"{checksum:08x}"
