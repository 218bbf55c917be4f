"""The table of a sweep as text: for a terminal, as Markdown, and as comma-separated values."""

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import timedelta

from zf_lightning import paper
from zf_lightning.sweep.table import COMPARED, Figure, Row, SweepTable

#: Figures of a run by their name in `result.json`, with two lines of heading.
COLUMNS = (
    ("parameters", "", "parameters"),
    ("train/top1_error_centre_crop", "training", "top-1"),
    ("val/top1_error", "validation", "top-1"),
    ("val/top5_error", "", "top-5"),
    ("val/top1_error_tencrop", "ten crops", "top-1"),
    ("val/top5_error_tencrop", "", "top-5"),
)
#: In their place where a sweep does not train but tests.
TEST_COLUMNS = (
    ("parameters", "", "parameters"),
    ("test/top1_error", "test", "top-1"),
    ("test/top5_error", "", "top-5"),
    ("test/top1_error_tencrop", "ten crops", "top-1"),
    ("test/top5_error_tencrop", "", "top-5"),
)
OTHER_NETWORK = "†"
DIFFERENCE = (
    "Δ: ten-crop top-1 validation error less that of the unablated network, with the same seed; "
    "beside the paper's figures, theirs."
)


def table_text(table: SweepTable) -> str:
    """The table in aligned columns, with its header and notes."""
    grid = table_grid(table)
    widths = [max(len(cell) for cell in column) for column in zip(*grid, strict=True)]
    first = len(table.keys) or 1
    lines = []
    for cells in grid:
        parts = [
            cell.ljust(width) if place < first else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join([table.header, "", *lines, "", *table_notes(table)]).rstrip() + "\n"


def table_grid(table: SweepTable) -> list[list[str]]:
    """Two lines of headings and the rows, as cells."""
    return [*_headings(table), *_body(table)]


def table_markdown(table: SweepTable) -> str:
    """The table as Markdown, with its header and notes."""
    above, below = _headings(table)
    heading = []
    group = ""
    for upper, lower in zip(above, below, strict=True):
        group = upper or group
        heading.append(f"{group} {lower}" if lower in ("top-1", "top-5", "Δ", "train") else lower)
    first = len(table.keys) or 1
    rules = [":--"] * first + ["--:"] * (len(heading) - first)
    lines = [_markdown_line(cells) for cells in (heading, rules, *_body(table))]
    notes = [f"\n{note}" for note in table_notes(table)]
    return "\n".join([table.header, "", *lines, *notes]) + "\n"


def table_csv(table: SweepTable) -> str:
    """The figures of the sweep, a line for each row of the table.

    Means, and sample standard deviations in columns `…_std`; errors in percent, times in seconds.
    """
    text = io.StringIO()
    columns, lines = table_values(table)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(lines)
    return text.getvalue()


def table_values(table: SweepTable) -> tuple[list[str], list[list[str | float | None]]]:
    """Columns and lines of `table_csv`, for a table in wandb; None where there is no figure."""
    chosen = [*(name for name, _, _ in _columns(table)), "train/seconds"]
    if set(chosen) & {name for name, _, _ in COLUMNS}:
        chosen += [name for name, _, _ in TEST_COLUMNS if name not in chosen]
    lines = [_values(row, chosen) for row in table.rows]
    columns = list(dict.fromkeys(column for line in lines for column in line))
    return columns, [[line.get(column) for column in columns] for line in lines]


def _values(row: Row, chosen: Sequence[str]) -> dict[str, str | float | None]:
    values: dict[str, str | float | None] = dict(row.settings)
    values["jobs"] = len(row.jobs)
    values["state"] = "; ".join(row.marks) or "done"
    figures = {name: row.figures[name] for name in chosen if name in row.figures}
    if row.difference is not None:
        figures["difference"] = row.difference
    for name, figure in figures.items():
        values[name] = round(figure.mean, 4)
        if figure.deviation is not None and name != "parameters":
            values[f"{name}_std"] = round(figure.deviation, 4)
    if row.paper is not None:
        values["paper/network"] = row.paper.network
        values["paper/train/top1_error"] = row.paper.row.train_top1_error
        values["paper/val/top1_error"] = row.paper.row.val_top1_error
        values["paper/val/top5_error"] = row.paper.row.val_top5_error
        values["paper/difference"] = round(row.paper.difference, 1)
        ours = row.figures.get(COMPARED)
        if ours is not None:
            difference = ours.mean - row.paper.row.val_top1_error
            values[f"{COMPARED}_minus_paper"] = round(difference, 4)
    return values


def _columns(table: SweepTable) -> Sequence[tuple[str, str, str]]:
    known = list(dict.fromkeys(name for row in table.rows for name in row.figures))
    chosen = COLUMNS if any(name.startswith("val/") for name in known) else TEST_COLUMNS
    found = [column for column in chosen if column[0] in known]
    if not any("/" in name for name, _, _ in found):
        # A task that measures something else: its own figures.
        found += [(name, "", name) for name in known if "/" in name][:6]
    return found


def _has_difference(table: SweepTable) -> bool:
    return any(row.difference is not None for row in table.rows)


def _headings(table: SweepTable) -> tuple[list[str], list[str]]:
    columns = _columns(table)
    above = [""] * (len(table.keys) or 1) + [upper for _, upper, _ in columns]
    below = [*(table.keys or ["job"]), *(lower for _, _, lower in columns)]
    if _has_difference(table):
        above, below = [*above, ""], [*below, "Δ"]
    if table.has_paper:
        above += ["the paper", "", "", ""]
        below += ["train", "top-1", "top-5", "Δ"]
    return [*above, "", ""], [*below, "time", ""]


def _body(table: SweepTable) -> Iterator[list[str]]:
    for row in table.rows:
        cells = list(row.settings.values()) or [_only(row)]
        for name, _, _ in _columns(table):
            cells.append(_shown(row.figures.get(name), whole=name == "parameters"))
        if _has_difference(table):
            cells.append(_shown(row.difference, signed=True))
        if table.has_paper:
            cells += _paper_cells(row)
        seconds = row.figures.get("train/seconds")
        cells.append(str(timedelta(seconds=round(seconds.mean))) if seconds else "")
        yield [*cells, ", ".join(row.marks)]


def _only(row: Row) -> str:
    return row.jobs[0].folder.name if len(row.jobs) == 1 else "all seeds"


def _paper_cells(row: Row) -> list[str]:
    if row.paper is None:
        return ["", "", "", ""]
    mark = OTHER_NETWORK if row.paper.other_network else ""
    found = row.paper.row
    errors = (found.train_top1_error, found.val_top1_error, found.val_top5_error)
    return [f"{error:.1f}{mark}" for error in errors] + [f"{row.paper.difference:+.1f}{mark}"]


def _shown(figure: Figure | None, *, whole: bool = False, signed: bool = False) -> str:
    if figure is None:
        return "–"
    if whole:
        return f"{figure.mean:,.0f}"
    mean = f"{figure.mean:+.2f}" if signed else f"{figure.mean:.2f}"
    return mean if figure.deviation is None else f"{mean} ± {figure.deviation:.2f}"


def table_notes(table: SweepTable) -> list[str]:
    """What a reader of the table must know."""
    notes = []
    counts = sorted({len(row.jobs) for row in table.rows})
    if counts and counts[-1] > 1:
        numbers = " or ".join(map(str, counts))
        notes.append(f"Means of {numbers} seeds ± their sample standard deviation.")
    if _has_difference(table):
        notes.append(DIFFERENCE)
    others = {r.paper.network for r in table.rows if r.paper is not None and r.paper.other_network}
    for network in sorted(others):
        name = paper.BASE_NETWORK_NAMES[network]
        notes.append(f"{OTHER_NETWORK} The paper ran this row on {name} only.")
    return notes


def _markdown_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
