"""Rows of `metrics.csv`, also of one that a kill or a fault of the disk has damaged."""

import csv
import logging
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The values of each row by column, as text.

    Rows that are damaged, so far as that shows, are left out with a warning.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    # Not the rest of a line that was being written when the process was killed.
    header, *lines = content.rpartition(b"\n")[0].decode(errors="replace").split("\n")
    columns = header.strip().split(",")
    rows = [row for line in lines if (row := _values(columns, line.rstrip("\r"))) is not None]
    if len(rows) < len(lines):
        log.warning(
            f"{path} is damaged: {len(lines) - len(rows)} of its {len(lines)} rows cannot be read "
            "and are left out."
        )
    return rows


def _values(columns: list[str], line: str) -> dict[str, Any] | None:
    try:
        (cells,) = csv.reader([line])
        row = {name: cell for name, cell in zip(columns, cells, strict=True) if cell}
        int(row["step"])
        for cell in row.values():
            float(cell)
    except (csv.Error, KeyError, ValueError):
        return None
    return row
