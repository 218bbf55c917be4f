"""The page and the plot of a sweep."""

import math
import os
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape
from PIL import Image

from zf_lightning.figures.comparison import Series, comparison_plot
from zf_lightning.sweep.table import Row, SweepTable
from zf_lightning.sweep.text import table_csv, table_grid, table_markdown, table_notes

ERRORS = (
    ("train/top1_error_centre_crop", "training, one crop"),
    ("val/top1_error", "validation, one crop"),
    ("val/top1_error_tencrop", "validation, ten crops"),
)
TEST_ERRORS = (
    ("test/top1_error", "test, one crop"),
    ("test/top1_error_tencrop", "test, ten crops"),
)


def write_sweep_report(folder: Path, table: SweepTable) -> Path:
    """Write `ablation.{csv,md,png}` (or `sweep.*`) and `report/index.html`; returns the page."""
    (folder / f"{table.name}.csv").write_text(table_csv(table))
    (folder / f"{table.name}.md").write_text(table_markdown(table))
    plot = sweep_plot(table)
    if plot is not None:
        plot.save(folder / f"{table.name}.png")
    environment = Environment(
        loader=PackageLoader("zf_lightning.report"), autoescape=select_autoescape()
    )
    above, below, *lines = table_grid(table)
    path = folder / "report" / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    page = environment.get_template("sweep.html").render(
        name=folder.resolve().name,
        table=table,
        headings=(above, below),
        lines=lines,
        notes=table_notes(table),
        first=len(table.keys) or 1,
        jobs=[[_link(job.folder, path.parent) for job in row.jobs] for row in table.rows],
        plot=f"../{table.name}.png" if plot is not None else None,
    )
    path.write_text(page)
    return path


def sweep_plot(table: SweepTable) -> Image.Image | None:
    """Errors of every row, and beside them the differences that the ablations make.

    None if no job has an error to show.
    """
    known = {name for row in table.rows for name in row.figures}
    errors = [pair for pair in ERRORS if pair[0] in known]
    if not errors:
        errors = [pair for pair in TEST_ERRORS if pair[0] in known]
    if not errors:
        return None
    panels = [("top-1 error (%)", [_series(table.rows, *pair) for pair in errors])]
    if any(row.difference is not None for row in table.rows):
        differences = [row.difference for row in table.rows]
        own = Series(
            "here",
            [math.nan if one is None else one.mean for one in differences],
            [
                math.nan if one is None or one.deviation is None else one.deviation
                for one in differences
            ],
        )
        series = [own]
        if table.has_paper:
            values = [math.nan if r.paper is None else r.paper.difference for r in table.rows]
            series.append(Series("in the paper", values, hollow=True))
        panels.append(
            ("top-1 error less that of the unablated network (percentage points)", series)
        )
    return comparison_plot([row.label for row in table.rows], panels, title=table.header)


def _series(rows: tuple[Row, ...], name: str, words: str) -> Series:
    figures = [row.figures.get(name) for row in rows]
    return Series(
        words,
        [math.nan if one is None else one.mean for one in figures],
        [math.nan if one is None or one.deviation is None else one.deviation for one in figures],
    )


def _link(job: Path, start: Path) -> tuple[str, str | None]:
    page = job / "report" / "index.html"
    return job.name, Path(os.path.relpath(page, start)).as_posix() if page.exists() else None
