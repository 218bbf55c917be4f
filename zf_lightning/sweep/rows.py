"""The jobs of a sweep by configuration: mean errors, differences, and the paper's row (Table 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zf_lightning import paper
from zf_lightning.results import metric_names as names
from zf_lightning.results.tables import Value
from zf_lightning.sweep.names import override_key, override_value
from zf_lightning.sweep.record import Job

if TYPE_CHECKING:
    from zf_lightning.sweep.paired import Comparison

#: Jobs that differ in these only are averaged.
REPEATED = ("seed",)
#: The metric that is compared with the unablated network's. The paper does not say whether it
#: averaged crops; its replication agrees with Krizhevsky's ten-crop values, so it probably did.
COMPARED = names.VAL_TOP1_TENCROP

Results = Mapping[Path, dict[str, Any]]


@dataclass(frozen=True)
class PaperRow:
    """The paper's row of Table 3 for a row of ours."""

    network: str
    row: paper.AblationRow
    #: Whether the paper ran it on its other network only.
    other_network: bool
    #: Validation top-1 error minus that of the paper's row for our baseline, if it has one.
    difference: float | None


@dataclass(frozen=True)
class Row:
    """A configuration: one job, or several that differ in their seed alone."""

    settings: dict[str, str]
    jobs: tuple[Job, ...]
    metrics: dict[str, Value] = field(default_factory=dict)
    #: The ablation that `difference` compares with.
    baseline: str = "none"
    #: Of `COMPARED` to the baseline with the same seed and otherwise the same options.
    difference: Value | None = None
    #: Intervals of it, of the same images in pairs; None where a job has not kept them.
    comparison: "Comparison | None" = None
    paper: PaperRow | None = None
    marks: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The values that the row stands for, as text."""
        named = [
            value if key in ("model", "ablation") else f"{key}={value}"
            for key, value in self.settings.items()
        ]
        return ", ".join(named) or "unchanged"


def build_rows(jobs: Sequence[Job], keys: Sequence[str], results: Results) -> tuple[Row, ...]:
    """Jobs with the same values of `keys` as one row, in the order of the jobs."""
    groups: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        groups.setdefault(tuple(_settings(job, keys).values()), []).append(job)
    return tuple(_row(group, keys, jobs, results) for group in groups.values())


def changes_layers(overrides: Sequence[str]) -> bool:
    """Whether a command changes single layers or initial weights: the paper has no such row."""
    changes = ("model.convs", "model.fcs", "model.weights")
    return any(override_key(o).startswith(changes) for o in overrides)


def _settings(job: Job, keys: Sequence[str]) -> dict[str, str]:
    values = {override_key(o): override_value(o) for o in job.overrides}
    return {key: values.get(key, "") for key in keys}


def _row(group: Sequence[Job], keys: Sequence[str], jobs: Sequence[Job], results: Results) -> Row:
    done = [(job, results[job.folder]) for job in group if job.folder in results]
    values: dict[str, list[float]] = {}
    for _, result in done:
        for name, value in result.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number and ("/" in name or name == "parameters"):
                values.setdefault(name, []).append(float(value))
    baselines = {job.folder: _baseline(job, jobs) for job in group}
    pairs = [
        (base.folder, job.folder)
        for job, result in done
        if (base := baselines[job.folder]) != job
        and None not in (result.get(COMPARED), results.get(base.folder, {}).get(COMPARED))
    ]
    differences = [results[own][COMPARED] - results[base][COMPARED] for base, own in pairs]
    baseline = _ablation(baselines[group[0].folder])
    return Row(
        settings=_settings(group[0], keys),
        jobs=tuple(group),
        metrics={name: Value.of(several) for name, several in values.items()},
        baseline=baseline,
        difference=Value.of(differences) if differences else None,
        comparison=_comparison(pairs),
        paper=_paper_row(*done[0], baseline) if done else None,
        marks=_marks(group, [result for _, result in done]),
    )


def _comparison(pairs: Sequence[tuple[Path, Path]]) -> "Comparison | None":
    """Networks in pairs, on the images that all of them were tested on."""
    # Imported here: every command of Hydra reads this module, and SciPy takes long.
    import numpy as np

    from zf_lightning.results.per_image import read_per_image
    from zf_lightning.sweep.paired import compare

    found = [read_per_image(folder, "val") for pair in pairs for folder in pair]
    if not found or None in found or len({len(one[0]) for one in found if one}) > 1:
        return None
    scored, wrong = (np.stack(several) for several in zip(*filter(None, found), strict=True))
    wrong = wrong[:, scored.all(0)]
    return compare(wrong[::2], wrong[1::2]) if wrong.shape[1] > 1 else None


def _baseline(job: Job, jobs: Sequence[Job]) -> Job:
    """The job to compare with, which differs in its ablation only.

    It has none; if the sweep has no such job, it is the sweep's first (perhaps `job` itself).
    """

    def others(job: Job) -> list[str]:
        return sorted(o for o in job.overrides if override_key(o) != "ablation")

    twins = [other for other in jobs if others(other) == others(job)]
    return next((twin for twin in twins if _ablation(twin) == "none"), twins[0])


def _ablation(job: Job) -> str:
    """The ablation that a job's command names."""
    return _settings(job, ["ablation"])["ablation"].strip("[]'\"") or "none"


def _paper_row(job: Job, result: dict[str, Any], baseline: str) -> PaperRow | None:
    ablations = result.get("ablation", [])
    if len(ablations) != 1 or changes_layers(job.overrides):
        return None
    network = paper.BASE_NETWORK.get(result["model"], "")
    row = paper.table_3(result["model"], ablations[0])
    other_network = row is None
    if row is None:
        other = paper.table_3_of_other_network(result["model"], ablations[0])
        if other is None:
            return None
        network, row = other
    base = paper.TABLE_3[network].get(baseline)
    difference = None if base is None else row.val_top1_error - base.val_top1_error
    return PaperRow(network, row, other_network, difference)


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
