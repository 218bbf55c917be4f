"""Rows of `metrics.csv`, each with a checksum in its last column.

A row that a kill or a fault of the disk has damaged is left out. Files of earlier versions have no
checksums and are read as they are.
"""

import csv
import io
import logging
import shutil
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from zf_lightning.system.sealed import CHECKSUM, names_checksum

log = logging.getLogger(__name__)


def format_rows(
    columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, header: bool = False
) -> bytes:
    """Lines of the file: the values of each row by column, after the header if it is asked for.

    The last column is the CRC-32 of the header and of the row without it, in hexadecimal.
    """
    first = ",".join([_line(columns), CHECKSUM])
    of_header = zlib.crc32(first.encode())
    lines = [first] if header else []
    for row in rows:
        line = _line([row.get(column, "") for column in columns])
        lines.append(f"{line},{zlib.crc32(line.encode(), of_header):08x}")
    return "".join(f"{line}\r\n" for line in lines).encode()


def read_rows(path: Path, *, keep_damaged: bool = False) -> list[dict[str, Any]]:
    """Read the rows as dictionaries of text by column; without a file there are none.

    Rows that are damaged are left out with a warning. With `keep_damaged` the damaged file is
    copied to `metrics.damaged.csv` beside it: its reader is about to write another.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    # Not the rest of a line that was being written when the process was killed.
    header, *lines = content.rpartition(b"\n")[0].decode(errors="replace").split("\n")
    header = header.rstrip("\r")
    rows = [row for line in lines if (row := _values(header, line.rstrip("\r"))) is not None]
    if len(rows) < len(lines):
        kept = path.with_stem(f"{path.stem}.damaged")
        if keep_damaged:
            with suppress(OSError):
                shutil.copyfile(path, kept)
        log.warning(
            f"{path} is damaged: {len(lines) - len(rows)} of its {len(lines)} rows are not as they "
            f"were written and are left out{f'; {kept.name} has them' if keep_damaged else ''}."
        )
    return rows


def _line(cells: Sequence[Any]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def _values(header: str, line: str) -> dict[str, Any] | None:
    columns = header.split(",")
    if names_checksum(columns[-1]):
        line, _, checksum = line.rpartition(",")
        if checksum != f"{zlib.crc32(line.encode(), zlib.crc32(header.encode())):08x}":
            return None
        columns = columns[:-1]
    try:
        (cells,) = csv.reader([line])
        row = {name: cell for name, cell in zip(columns, cells, strict=True) if cell}
        int(row["step"])
        for cell in row.values():
            float(cell)
    except (csv.Error, KeyError, ValueError):
        return None
    return row
