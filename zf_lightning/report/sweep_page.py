"""The page and the plots of a sweep."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from zf_lightning.figures.comparison import Interval, Panel, Series, comparison_figure
from zf_lightning.figures.style import to_image, to_svg
from zf_lightning.report.html import write_page
from zf_lightning.report.page import find_pictures
from zf_lightning.results import metric_names as names
from zf_lightning.results.tables import Value
from zf_lightning.sweep.rows import COMPARED, Row
from zf_lightning.sweep.table import SweepTable
from zf_lightning.system.files import write_whole

#: Errors that are plotted: metric, words, and the attribute of the paper's row beside it.
ERRORS = (
    (names.TRAIN_TOP1_CENTRE_CROP, "training, one crop", "train_top1_error"),
    (names.VAL_TOP1, "validation, one crop", None),
    (COMPARED, "validation, ten crops", "val_top1_error"),
    (names.TEST_TOP1, "test, one crop", None),
    (names.TEST_TOP1_TENCROP, "test, ten crops", None),
)
#: Of a normal distribution, for 95 % of it.
QUANTILE = 1.96
MISSING = (math.nan, math.nan)
SEEDS = "Bars of errors: the standard deviation over seeds."
IMAGES = (
    "Bars of errors: 95 % Wilson intervals, given the number of images, without what seeds vary."
)


def write_sweep_report(folder: Path, sweep: SweepTable) -> Path:
    """Write the table's files, their plot beside them, and `report/index.html`; returns the page.

    The plot is left out if no job has an error to show.
    """
    table = sweep.table
    table.write(folder)
    labels = [row.label for row in sweep.rows]
    panels = plotted(sweep.rows)
    if panels:
        picture = to_image(comparison_figure(labels, panels))
        write_whole(folder / f"{table.name}.png", lambda path: picture.save(path, "png"))
    path = folder / "report" / "index.html"
    return write_page(
        path,
        "sweep.html",
        name=folder.resolve().name,
        table=table,
        reports=[[_link(job.folder, path.parent) for job in row.jobs] for row in sweep.rows],
        panels=_panels(sweep.rows, path.parent),
        plots=[(one.quantity, to_svg(comparison_figure(labels, [one]))) for one in panels],
        bars=sorted({SEEDS if len(row.jobs) > 1 else IMAGES for row in sweep.rows}),
    )


def plotted(rows: Sequence[Row]) -> list[Panel]:
    """Errors of every row, and the differences that the ablations make; the paper's beside them."""
    known = {name for row in rows for name in row.metrics}
    trains = names.VAL_TOP1 in known
    series = [
        Series(
            words,
            _means([row.metrics.get(name) for row in rows]),
            [_interval(row, name) for row in rows],
            _papers(rows, attribute),
        )
        for name, words, attribute in ERRORS
        if name in known and not (trains and name.startswith("test/"))
    ]
    panels = [Panel("top-1 error (%)", series)] if series else []
    differences = [row.difference for row in rows]
    if any(difference is not None for difference in differences):
        bases = " or ".join(dict.fromkeys(row.baseline for row in rows if row.difference))
        papers = [row.paper.difference if row.paper else None for row in rows]
        own = Series(
            "validation, ten crops",
            _means(differences),
            [row.comparison.interval if row.comparison else MISSING for row in rows],
            [math.nan if p is None else p for p in papers] if any(papers) else None,
        )
        panels.append(Panel(f"top-1 error minus that of {bases} (percentage points)", [own]))
    return panels


def wilson(error: float, images: float) -> Interval:
    """The 95 % interval of an error in percent, counted on a number of images."""
    share, squared = error / 100, QUANTILE**2 / images
    middle = (share + squared / 2) / (1 + squared)
    reach = math.sqrt(share * (1 - share) * squared + squared**2 / 4) / (1 + squared)
    return 100 * (middle - reach), 100 * (middle + reach)


def _means(values: Sequence[Value | None]) -> list[float]:
    return [math.nan if value is None else value.mean for value in values]


def _papers(rows: Sequence[Row], attribute: str | None) -> list[float] | None:
    if attribute is None or not any(row.paper for row in rows):
        return None
    return [math.nan if r.paper is None else getattr(r.paper.row, attribute) for r in rows]


def _interval(row: Row, name: str) -> Interval:
    """The spread over seeds of a metric, or what the number of images leaves open."""
    value = row.metrics.get(name)
    images = row.metrics.get(name.replace("top1_error", "images"))
    if value is None:
        return MISSING
    if value.deviation is not None:
        return value.mean - value.deviation, value.mean + value.deviation
    return wilson(value.mean, images.mean) if images and images.mean else MISSING


def _link(job: Path, start: Path) -> tuple[str, str | None]:
    page = job / "report" / "index.html"
    return job.name, _relative(page, start) if page.exists() else None


def _panels(rows: Sequence[Row], start: Path) -> dict[str, list[tuple[str, str]]]:
    """By layer: of each row its label, and the picture of its first run's last epoch."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        figures = row.jobs[0].folder / "figures"
        for layer, pictures in find_pictures(figures).items():
            # Those of a whole task are no layers.
            if max(pictures):
                picture = _relative(figures / pictures[max(pictures)], start)
                panels.setdefault(layer, []).append((row.label, picture))
    return panels


def _relative(path: Path, start: Path) -> str:
    return Path(os.path.relpath(path, start)).as_posix()
