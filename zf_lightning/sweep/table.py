"""The jobs of a sweep as a table: errors, differences, and the paper's beside them (Table 3)."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from zf_lightning import paper
from zf_lightning.sweep.names import override_key, override_value
from zf_lightning.sweep.record import Job

#: Only these differ among the jobs whose figures are averaged.
REPEATED = ("seed",)
#: What is compared with the unablated network. The paper does not say whether it averaged crops;
#: its replication agrees with Krizhevsky's ten-crop figures, so that ten are the likely protocol.
COMPARED = "val/top1_error_tencrop"


@dataclass(frozen=True)
class Figure:
    """A mean over jobs, and their sample standard deviation where there are several."""

    mean: float
    deviation: float | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        """The figure of one value or more."""
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), deviation)


@dataclass(frozen=True)
class PaperRow:
    """The paper's row of Table 3 for a row of ours."""

    network: str
    row: paper.AblationRow
    #: The paper ran it on its other network only.
    other_network: bool
    #: Validation top-1 error less that of the paper's unablated network.
    difference: float


@dataclass(frozen=True)
class Row:
    """A configuration: one job, or several that differ in their seed alone."""

    settings: dict[str, str]
    jobs: tuple[Job, ...]
    figures: dict[str, Figure] = field(default_factory=dict)
    #: Of `COMPARED`, to the same configuration without ablation and with the same seed.
    difference: Figure | None = None
    paper: PaperRow | None = None
    marks: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What the row varies, as text."""
        if set(self.settings) == {"ablation"}:
            return self.settings["ablation"]
        return ", ".join(f"{key}={value}" for key, value in self.settings.items()) or "unchanged"


@dataclass(frozen=True)
class SweepTable:
    """The rows of a sweep, and what they have in common."""

    keys: tuple[str, ...]
    rows: tuple[Row, ...]
    header: str

    @property
    def name(self) -> str:
        """Of its files: a sweep over ablations makes `ablation.csv`, another `sweep.csv`."""
        return "ablation" if "ablation" in self.keys else "sweep"

    @property
    def has_paper(self) -> bool:
        """Whether the paper has a figure for one of the rows."""
        return any(row.paper is not None for row in self.rows)


def build_table(jobs: Sequence[Job], swept: Sequence[str]) -> SweepTable:
    """The table of a sweep's jobs, in their order, of a sweep over the options `swept`."""
    keys = tuple(key for key in swept if key not in REPEATED)
    groups: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        groups.setdefault(tuple(_settings(job, keys).values()), []).append(job)
    results = {job.folder: job.result for job in jobs if job.exit_code == 0}
    rows = tuple(_row(group, keys, jobs, results) for group in groups.values())
    known = [result for result in results.values() if result is not None]
    return SweepTable(keys, rows, _header(known, has_paper=any(row.paper for row in rows)))


def _settings(job: Job, keys: Sequence[str]) -> dict[str, str]:
    values = {override_key(o): override_value(o) for o in job.overrides}
    return {key: values.get(key, "") for key in keys}


def _row(
    group: Sequence[Job],
    keys: Sequence[str],
    jobs: Sequence[Job],
    results: dict[Any, dict[str, Any] | None],
) -> Row:
    done = [(job, result) for job in group if (result := results.get(job.folder)) is not None]
    figures: dict[str, list[float]] = {}
    for _, result in done:
        for name, value in result.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number and ("/" in name or name == "parameters"):
                figures.setdefault(name, []).append(float(value))
    differences = []
    for job, result in done:
        base = _unablated(job, jobs, results)
        if base is not None and COMPARED in base and COMPARED in result:
            differences.append(result[COMPARED] - base[COMPARED])
    return Row(
        settings=_settings(group[0], keys),
        jobs=tuple(group),
        figures={name: Figure.of(values) for name, values in figures.items()},
        difference=Figure.of(differences) if differences else None,
        paper=_paper_row(*done[0]) if done else None,
        marks=_marks(group, [result for _, result in done]),
    )


def _unablated(
    job: Job, jobs: Sequence[Job], results: dict[Any, dict[str, Any] | None]
) -> dict[str, Any] | None:
    """The result of the job that differs from `job` in having no ablation, if there is one."""

    def others(one: Job) -> list[str]:
        return sorted(o for o in one.overrides if override_key(o) != "ablation")

    result = results.get(job.folder)
    if result is None or result.get("ablation") in (None, ["none"]):
        return None
    for other in jobs:
        base = results.get(other.folder)
        same = others(other) == others(job)
        if same and base is not None and base.get("ablation") == ["none"]:
            return base
    return None


def _paper_row(job: Job, result: dict[str, Any]) -> PaperRow | None:
    ablations = result.get("ablation", [])
    if len(ablations) != 1 or changes_layers(job.overrides):
        return None
    own = paper.table_3(result["model"], ablations[0])
    if own is not None:
        network, row, other = paper.BASE_NETWORK[result["model"]], own, False
    else:
        found = paper.table_3_of_other_network(result["model"], ablations[0])
        if found is None:
            return None
        (network, row), other = found, True
    base = paper.TABLE_3[network]["none"]
    return PaperRow(network, row, other, row.val_top1_error - base.val_top1_error)


def changes_layers(overrides: Sequence[str]) -> bool:
    """Whether a command changes layers one by one, or their start: the paper has no row for it."""
    changes = ("model.convs", "model.fcs", "model.weights")
    return any(override_key(o).startswith(changes) for o in overrides)


def _marks(group: Sequence[Job], results: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    several = f" ({{}} of {len(group)})" if len(group) > 1 else ""
    marks = []
    stalled = sum(bool(result.get("stalled")) for result in results)
    if stalled:
        marks.append("stalled" + several.format(stalled))
    failed = [job for job in group if job.exit_code != 0]
    if failed:
        code = f" (exit {failed[0].exit_code})" if not several else several.format(len(failed))
        marks.append("FAILED" + code)
    return tuple(marks)


def _header(results: Sequence[dict[str, Any]], *, has_paper: bool) -> str:
    """What the figures are of: the networks, their width, the data and how long they trained."""
    if not results:
        return "No job has finished."

    def every(name: str) -> str:
        values = dict.fromkeys(json.dumps(r[name]) for r in results if r.get(name) is not None)
        return ", ".join(value.strip('"') for value in values)

    parts = [
        f"{every('model')}" + (f" of width {every('width')}" if every("width") else ""),
        f"{every('data')}, {every('classes')} classes",
    ]
    text = " on ".join(parts) + (f", {every('epochs')} epochs" if every("epochs") else "")
    text += "; errors in percent"
    if any("val/top1_error" in result for result in results):
        text += ", of the weights with the lowest validation error"
    return f"{text}. {paper.COMPARABLE}" if has_paper else f"{text}."
