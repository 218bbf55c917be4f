"""A table of figures as files: comma-separated values, Markdown and JSON."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """Rows of text and figures; None where there is no figure."""

    #: Of its files.
    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    #: What a reader must know, below the table.
    notes: tuple[str, ...] = ()
    #: Of the figures, where a person reads them.
    decimals: int = 1

    def write(self, folder: Path) -> None:
        """Write `NAME.csv`, `NAME.md` and `NAME.json` (a list of rows by column)."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{self.name}.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.columns)
            writer.writerows([_plain(cell) for cell in row] for row in self.rows)
        (folder / f"{self.name}.md").write_text(self.markdown())
        records = [dict(zip(self.columns, map(_plain, row), strict=True)) for row in self.rows]
        contents = {"title": self.title, "notes": list(self.notes), "rows": records}
        (folder / f"{self.name}.json").write_text(json.dumps(contents, indent=2) + "\n")

    def markdown(self) -> str:
        """The title, the table and its notes."""
        numeric = [
            any(isinstance(row[place], int | float) for row in self.rows)
            for place in range(len(self.columns))
        ]
        lines = [
            _line(self.columns),
            _line(["--:" if number else ":--" for number in numeric]),
            *(_line([shown(cell, self.decimals) for cell in row]) for row in self.rows),
        ]
        return "\n\n".join([self.title, "\n".join(lines), *self.notes]) + "\n"

    def text(self) -> list[str]:
        """Aligned lines for a terminal, the columns' names first."""
        rows = [[shown(cell, self.decimals) for cell in row] for row in self.rows]
        grid = [list(self.columns), *rows]
        widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
        return [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in grid
        ]


def shown(cell: Cell, decimals: int = 1) -> str:
    """A cell as a person reads it."""
    if cell is None:
        return ""
    return f"{cell:.{decimals}f}" if isinstance(cell, float) else str(cell)


def _plain(cell: Cell) -> Cell:
    return round(cell, 4) if isinstance(cell, float) else cell


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
