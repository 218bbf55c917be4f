"""Tables: one description, read as CSV, JSON, Markdown, aligned text or the cells of a page."""

import csv
import io
import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from zf_lightning.system.files import write_whole


@dataclass(frozen=True)
class Value:
    """A number, its standard deviation if it is a mean of several, and a footnote mark."""

    mean: float
    deviation: float | None = None
    mark: str = ""

    @classmethod
    def of(cls, values: Sequence[float]) -> "Value":
        """The mean of one value or more, and their sample standard deviation."""
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), deviation)


Cell = str | int | float | Value | None
Plain = str | int | float | None


@dataclass(frozen=True)
class Column:
    """A column of a table: its name in files, and how a person reads it."""

    name: str
    #: The name if None.
    heading: str | None = None
    #: Stands once above neighbouring columns of the same group.
    group: str = ""
    #: The table's if None.
    decimals: int | None = None
    signed: bool = False
    #: Shows a cell in another way.
    show: Callable[[Any], str] | None = None
    #: Shown where a cell has no value.
    missing: str = ""
    #: Whether only files have it.
    hidden: bool = False

    @property
    def title(self) -> str:
        """The heading that a person reads."""
        return self.name if self.heading is None else self.heading

    def shown(self, cell: Cell, decimals: int) -> str:
        """A cell as a person reads it; numbers with `decimals` unless the column has its own."""
        if cell is None or (isinstance(cell, float) and math.isnan(cell)):
            return self.missing
        if self.show is not None:
            return self.show(cell)
        if isinstance(cell, str | int):
            return str(cell)
        value = cell if isinstance(cell, Value) else Value(cell)
        decimals = decimals if self.decimals is None else self.decimals
        sign = "+" if self.signed and value.mean else ""
        text = f"{value.mean:{sign}.{decimals}f}{value.mark}"
        return text if value.deviation is None else f"{text} ± {value.deviation:.{decimals}f}"


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers; None where there is no value."""

    #: Name of its files.
    name: str
    title: str
    columns: tuple[str | Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    #: Notes that a reader needs, below the table.
    notes: tuple[str, ...] = ()
    #: Decimals where a person reads the table; files have four.
    decimals: int = 1

    def write(self, folder: Path) -> None:
        """Write `NAME.csv`, `NAME.md` and `NAME.json` (a list of rows by column)."""
        write_whole(folder / f"{self.name}.csv", self.csv())
        write_whole(folder / f"{self.name}.md", self.markdown())
        write_whole(folder / f"{self.name}.json", self.json())

    def values(self) -> tuple[list[str], list[list[Plain]]]:
        """Columns and rows of plain values, as files have them.

        Standard deviations are in columns `NAME_std`; a number that is not finite is None.
        """
        names: list[str] = []
        columns: list[list[Plain]] = []
        for place, column in enumerate(self._columns):
            cells = [row[place] for row in self.rows]
            values = [cell if isinstance(cell, Value) else None for cell in cells]
            names.append(column.name)
            columns.append([_plain(cell) for cell in cells])
            if any(value is not None and value.deviation is not None for value in values):
                names.append(f"{column.name}_std")
                columns.append([_plain(value.deviation) if value else None for value in values])
        return names, [list(row) for row in zip(*columns, strict=True)]

    def csv(self) -> str:
        """Comma-separated values, the columns' names first."""
        text = io.StringIO()
        names, rows = self.values()
        csv.writer(text, lineterminator="\n").writerows([names, *rows])
        return text.getvalue()

    def json(self) -> str:
        """An object of `title`, `notes` and `rows`, each an object by column."""
        names, rows = self.values()
        records = [dict(zip(names, row, strict=True)) for row in rows]
        contents = {"title": self.title, "notes": list(self.notes), "rows": records}
        return json.dumps(contents, indent=2, allow_nan=False) + "\n"

    def markdown(self) -> str:
        """The title, the table and its notes."""
        heading = [f"{column.group} {column.title}".strip() for column in self._shown.values()]
        rules = ["--:" if number else ":--" for number in self.numeric]
        lines = [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
            for cells in (heading, rules, *self.body)
        ]
        return "\n\n".join([self.title, "\n".join(lines), *self.notes]) + "\n"

    def text(self) -> str:
        """The title, the table in aligned columns, and its notes."""
        return "\n".join(
            [self.title, "", *self.lines(), *(["", *self.notes] if self.notes else [])]
        )

    def lines(self) -> list[str]:
        """Aligned lines for a terminal, the headings first."""
        grid = [self.headings, *self.body]
        widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
        lines = []
        if any(group for group, _ in self.groups):
            above, first = [], 0
            for group, span in self.groups:
                last = first + span - 1
                room = sum(widths[first : last + 1]) + 2 * (span - 1)
                widths[last] += max(0, len(group) - room)
                above.append(group.center(max(room, len(group))))
                first = last + 1
            lines.append("  ".join(above).rstrip())
        for cells in grid:
            aligned = [
                cell.rjust(width) if number else cell.ljust(width)
                for cell, width, number in zip(cells, widths, self.numeric, strict=True)
            ]
            lines.append("  ".join(aligned).rstrip())
        return lines

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Headings above the headings, and how many columns each spans."""
        groups = groupby(column.group for column in self._shown.values())
        return [(group, len(list(same))) for group, same in groups]

    @property
    def headings(self) -> list[str]:
        """Headings of the columns that a person reads."""
        return [column.title for column in self._shown.values()]

    @property
    def body(self) -> list[list[str]]:
        """The cells that a person reads, by row."""
        return [
            [column.shown(row[place], self.decimals) for place, column in self._shown.items()]
            for row in self.rows
        ]

    @property
    def numeric(self) -> list[bool]:
        """Whether a column that a person reads holds numbers: it is aligned to the right."""
        return [
            any(isinstance(row[place], int | float | Value) for row in self.rows)
            for place in self._shown
        ]

    @property
    def _columns(self) -> list[Column]:
        return [c if isinstance(c, Column) else Column(c) for c in self.columns]

    @property
    def _shown(self) -> dict[int, Column]:
        """Columns that a person reads, by their place."""
        return {place: c for place, c in enumerate(self._columns) if not c.hidden}


def _plain(cell: Cell) -> Plain:
    number = cell.mean if isinstance(cell, Value) else cell
    if not isinstance(number, float):
        return number
    return round(number, 4) if math.isfinite(number) else None
