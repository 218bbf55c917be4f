"""The table of a sweep: a row for each configuration, the paper's values beside ours (Table 3)."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from zf_lightning import paper
from zf_lightning.results import metric_names as names
from zf_lightning.results.tables import Cell, Column, Table, Value
from zf_lightning.sweep.record import Job
from zf_lightning.sweep.rows import COMPARED, REPEATED, PaperRow, Row, build_rows

#: Metrics of a training by their name in `result.json`: group and heading of their columns.
TRAINING = {
    names.TRAIN_TOP1_CENTRE_CROP: ("training", "top-1"),
    names.VAL_TOP1: ("validation", "top-1"),
    names.VAL_TOP5: ("validation", "top-5"),
    names.VAL_TOP1_TENCROP: ("ten crops", "top-1"),
    names.VAL_TOP5_TENCROP: ("ten crops", "top-5"),
}
#: Those of a test.
TEST = {
    names.TEST_TOP1: ("test", "top-1"),
    names.TEST_TOP5: ("test", "top-5"),
    names.TEST_TOP1_TENCROP: ("ten crops", "top-1"),
    names.TEST_TOP5_TENCROP: ("ten crops", "top-5"),
}
#: The paper's errors of a row, and the heading of their columns.
PAPER = {names.TRAIN_TOP1: "train", names.VAL_TOP1: "top-1", names.VAL_TOP5: "top-5"}
#: At most so many metrics are shown of a task that measures something else.
OTHERS_SHOWN = 6
OTHER_NETWORK = "†"


@dataclass(frozen=True)
class SweepTable:
    """The rows of a sweep, and their table."""

    rows: tuple[Row, ...]
    table: Table


def build_table(jobs: Sequence[Job], swept: Sequence[str]) -> SweepTable:
    """The table of a sweep's jobs, in their order, of a sweep over the options `swept`.

    Its files are `ablation.*` if ablations are among them, otherwise `sweep.*`.
    """
    keys = [key for key in swept if key not in REPEATED]
    results = {
        job.folder: result
        for job in jobs
        if job.exit_code == 0 and (result := job.result) is not None
    }
    rows = build_rows(jobs, keys, results)
    columns = [
        (column, cells)
        for column, cells in _columns(rows, keys)
        if any(cell is not None for cell in cells)
    ]
    table = Table(
        name="ablation" if "ablation" in keys else "sweep",
        title=_title(list(results.values())),
        columns=tuple(column for column, _ in columns),
        rows=tuple(zip(*(cells for _, cells in columns), strict=True)),
        notes=tuple(_notes(rows)),
        decimals=2,
    )
    return SweepTable(rows, table)


def _columns(rows: Sequence[Row], keys: Sequence[str]) -> Iterator[tuple[Column, list[Cell]]]:
    for key in keys:
        yield Column(key), [row.settings[key] for row in rows]
    if not keys:
        jobs = [r.jobs[0].folder.name if len(r.jobs) == 1 else "all seeds" for r in rows]
        yield Column("job"), [*jobs]
    yield Column("jobs", hidden=True), [len(row.jobs) for row in rows]
    parameters = [row.metrics.get("parameters") for row in rows]
    count = Column("parameters", show=lambda number: f"{number:,}", missing="–")
    yield count, [None if number is None else round(number.mean) for number in parameters]
    known = dict.fromkeys(name for row in rows for name in row.metrics)
    trains = any(name.startswith("val/") for name in known)
    metrics = TRAINING if trains else TEST
    if not metrics.keys() & known.keys():
        metrics = {name: ("", name) for name in [n for n in known if "/" in n][:OTHERS_SHOWN]}
    for name, (group, heading) in metrics.items():
        yield Column(name, heading, group, missing="–"), [row.metrics.get(name) for row in rows]
    for name in TEST if trains else ():
        yield Column(name, hidden=True), [row.metrics.get(name) for row in rows]
    differences: list[Cell] = [row.difference for row in rows]
    # Beside the ten-crop errors, of which it is.
    yield Column("difference", "Δ", "ten crops", signed=True, missing="–"), differences
    yield from _interval_columns(rows)
    yield from _paper_columns(rows)
    time = Column(names.SECONDS, "time", show=lambda s: str(timedelta(seconds=round(s.mean))))
    yield time, [row.metrics.get(names.SECONDS) for row in rows]
    state = Column("state", "", show=lambda text: "" if text == "done" else text)
    yield state, ["; ".join(row.marks) or "done" for row in rows]


def _interval_columns(rows: Sequence[Row]) -> Iterator[tuple[Column, list[Cell]]]:
    """Of the difference: the interval, and what else says whether it is one."""
    found = [row.comparison for row in rows]
    for end, heading in enumerate(("from", "to")):
        column = Column(f"difference_{heading}", heading, "ten crops", signed=True, missing="–")
        yield column, [one and one.interval[end] for one in found]
        column = Column(f"difference_bootstrap_{heading}", hidden=True)
        yield column, [one and one.bootstrap[end] for one in found]
    yield Column("difference_mcnemar_p", hidden=True), [one and one.mcnemar for one in found]
    seeds = Column("seeds_for_one_point", "seeds / point", "ten crops", decimals=0, missing="–")
    yield seeds, [one and one.seeds_for_a_point for one in found]


def _paper_columns(rows: Sequence[Row]) -> Iterator[tuple[Column, list[Cell]]]:
    papers = [row.paper for row in rows]
    yield Column("paper/network", hidden=True), [p.network if p else None for p in papers]
    for name, heading in PAPER.items():
        field = name.replace("/", "_")
        errors = [_marked(p, getattr(p.row, field)) if p else None for p in papers]
        yield Column(f"paper/{name}", heading, "the paper", decimals=1), [*errors]
    differences = [_marked(p, p.difference) if p else None for p in papers]
    yield Column("paper/difference", "Δ", "the paper", decimals=1, signed=True), [*differences]
    minus: list[Cell] = [
        row.metrics[COMPARED].mean - row.paper.row.val_top1_error
        if row.paper and COMPARED in row.metrics
        else None
        for row in rows
    ]
    yield Column(f"{COMPARED}_minus_paper", hidden=True), minus


def _marked(paper: PaperRow, value: float | None) -> Value | None:
    """A value of the paper, marked if it is of its other network."""
    mark = OTHER_NETWORK if paper.other_network else ""
    return None if value is None else Value(value, mark=mark)


def _title(results: Sequence[dict[str, Any]]) -> str:
    """The networks, their width, the data and how long they trained."""
    if not results:
        return "No job has finished."

    def every(name: str) -> str:
        values = dict.fromkeys(json.dumps(r[name]) for r in results if r.get(name) is not None)
        return ", ".join(value.strip('"') for value in values)

    parts = [
        f"{every('model')}" + (f" of width {every('width')}" if every("width") else ""),
        f"{every('data')}, {every('classes')} classes",
    ]
    return " on ".join(parts) + _epochs(every("epochs"))


def _epochs(number: str) -> str:
    return f", {number} epoch{'' if number == '1' else 's'}" if number else ""


def _notes(rows: Sequence[Row]) -> Iterator[str]:
    """Notes that a reader of the table needs."""
    known = {name for row in rows for name in row.metrics}
    if any(name.endswith("top1_error") for name in known):
        trains = names.VAL_TOP1 in known
        of = ", of the weights with the lowest validation error" if trains else ""
        yield f"Errors in percent{of}."
    counts = sorted({len(row.jobs) for row in rows})
    if counts and counts[-1] > 1:
        numbers = " or ".join(map(str, counts))
        yield f"Means of {numbers} seeds ± their sample standard deviation."
    compared = {row.baseline: row for row in rows if row.difference is not None}
    if set(compared) == {"none"}:
        yield (
            "Δ: ten-crop top-1 validation error minus that of the unablated network with the same "
            "seed. The paper's Δ: minus that of its unablated network."
        )
    elif compared:
        first = " and ".join(name for name in compared if name != "none")
        yield (
            f"Δ: ten-crop top-1 validation error minus that of {' and of '.join(compared)} with "
            f"the same seed; the paper's Δ likewise. The sweep has no unablated network, so that "
            f"{first}, its first, stands in: add none to the ablations to compare with that."
        )
    yield from _interval_notes(rows)
    if any(row.paper for row in rows):
        yield paper.COMPARABLE
    others = sorted({r.paper.network for r in rows if r.paper and r.paper.other_network})
    for network in others:
        name = paper.BASE_NETWORK_NAMES[network]
        yield f"{OTHER_NETWORK} The paper ran this row on {name} only."


def _interval_notes(rows: Sequence[Row]) -> Iterator[str]:
    """What the intervals of the differences hold."""
    several = {row.comparison.mcnemar is None for row in rows if row.comparison}
    if False in several:
        yield (
            "from, to: 95 % interval of Δ, of the same images in pairs (McNemar). It knows one "
            "network of each kind: what other seeds would give is not in it."
        )
    if True in several:
        yield (
            "from, to: 95 % interval of Δ for further seeds and images, of the same in pairs. "
            "seeds / point: with how many seeds a true Δ of 1 would be told from 0 in 80 % of "
            "sweeps, if they vary as here (of few seeds a rough number; inf: the images are too "
            "few)."
        )
