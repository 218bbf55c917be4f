"""Runs of Weights & Biases: what they say of themselves, their end, and those without a Trainer.

wandb is imported where it is used, and Lightning never: a sweep is summed up without them.
"""

import contextlib
import logging
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from zf_lightning.config.instantiate import plain
from zf_lightning.config.options import option_of_run, run_folder
from zf_lightning.errors import reason_of
from zf_lightning.results import metric_names as names
from zf_lightning.results.tables import Table
from zf_lightning.system.compat import keep_paths_relative, use_artifact_offline
from zf_lightning.system.files import share
from zf_lightning.training.shown_configuration import shown_configuration
from zf_lightning.training.wandb_options import run_options

log = logging.getLogger(__name__)


def describe_run(run: Any, values: Mapping[str, Any]) -> None:
    """Say how the curves of a run are shown, where its files are, and which networks it looks at.

    `values` is the plain configuration.
    """
    import wandb

    # Not of the other processes of a training, which have no run.
    if not isinstance(run, wandb.Run):
        return
    # Each by its name: of two patterns that match, as Lightning's `*`, wandb follows either.
    for name in (*names.LOWEST, *names.BY_EPOCH, *names.CONSTANT):
        run.define_metric(
            name,
            step_metric=None if name == names.EPOCH else names.EPOCH,
            summary="min" if name in names.LOWEST else None,
            hidden=name in names.CONSTANT or None,
        )
    folder = Path(values["paths"]["run"])
    if run.offline:
        keep_paths_relative(run, folder)
    ckpt = values.get("ckpt")
    for path in ckpt if isinstance(ckpt, list) else [ckpt]:
        try:
            _use_checkpoint(run, path)
        except Exception as problem:
            # The errors of wandb's clients have no class in common.
            log.warning(
                f"Weights & Biases does not know that this run used {path}: {reason_of(problem)}"
            )


def _use_checkpoint(run: Any, ckpt: str | None) -> None:
    """Let the best checkpoint of a run that was logged to wandb be an input of this one."""
    if ckpt is None:
        return
    path, folder = Path(ckpt).expanduser(), run_folder(ckpt)
    file, identity = folder / "checkpoints" / "best.ckpt", folder / "wandb" / "run_id"
    logged = next(folder.glob("wandb/*run-*"), None) is not None and identity.exists()
    if not logged or path not in (folder, file):
        return
    if not option_of_run(folder, "callbacks.artifacts.checkpoint"):
        return
    name = f"checkpoint-{identity.read_text().strip()}"
    if not run.offline:
        run.use_artifact(f"{name}:best")
        return
    import wandb

    artifact = wandb.Artifact(name, type="model")
    artifact.add_file(str(file), policy="immutable")
    use_artifact_offline(run, artifact, ["best"])


def close_wandb(*, failed: bool = False) -> str | None:
    """Finish the wandb run of this process.

    Returns how to upload it if it was offline, or if its server took too long.
    """
    wandb = sys.modules.get("wandb")
    if wandb is None or wandb.run is None:
        return None
    run = wandb.run
    record = Path(run.settings.sync_dir) if run.offline else None
    try:
        wandb.finish(exit_code=int(failed))
    except TimeoutError:
        log.warning(
            f"The server of Weights & Biases did not take all of the run in "
            f"{run.settings.finish_timeout:g} s (logger.wandb.finish_timeout)."
        )
        record = Path(run.settings.sync_dir)
    except Exception as problem:
        # Its process is gone, of which it would complain again at the exit.
        log.warning(f"The run of Weights & Biases was not finished: {reason_of(problem)}")
        with contextlib.suppress(Exception):
            wandb.teardown()
        vars(wandb)["run"] = None
    if record is None or not record.exists():
        return None
    # From the run's folder, from which the record names its files.
    folder = record.parent.parent
    return f"cd {shlex.quote(str(folder))} && wandb sync {record.relative_to(folder)}"


def feature_map_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A table whose rows are feature maps, to be sorted and filtered, from `report.wall`'s rows."""
    import wandb

    # The probe of a training knows nothing of all images.
    columns = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    data = [[row[name] for name in columns] for row in rows]
    for values in data:
        values[-1] = wandb.Image(str(values[-1]))
    return wandb.Table(columns=[*columns], data=data)


def share_staged(pictures: Sequence[Path]) -> None:
    """Let the disk hold once what wandb copied of a table's pictures, to be uploaded."""
    by_size: dict[int, list[Path]] = {}
    for picture in pictures:
        by_size.setdefault(picture.stat().st_size, []).append(picture)
    for copy in Path(os.environ["WANDB_DATA_DIR"], "artifacts", "staging").glob("*"):
        for picture in by_size.get(copy.stat().st_size, []):
            share(picture, copy)


def log_figures(
    config: DictConfig, figures: Mapping[str, Path], feature_maps: Sequence[Mapping[str, Any]] = ()
) -> str | None:
    """Log the pictures of a task without a Trainer as a run; returns how to upload it if offline.

    `feature_maps` are rows of `feature_map_table`.

    Nothing happens without `logger.wandb`; a server that refuses, and any other failure of wandb,
    is a warning.
    """
    options = config.logger.get("wandb")
    if options is None or not (figures or feature_maps):
        return None
    import wandb

    values = {key: plain(value) for key, value in options.items() if key != "_target_"}
    options_of_run = run_options(**values)
    with _failing_as_a_warning("figures were"):
        run = wandb.init(**options_of_run, config=shown_configuration(plain(config)))
        describe_run(run, plain(config))
        shown: dict[str, Any] = {name: wandb.Image(str(path)) for name, path in figures.items()}
        if feature_maps:
            shown["feature_maps"] = feature_map_table(feature_maps)
        run.log(shown)
        share_staged([row["picture"] for row in feature_maps])
    return close_wandb()


@contextlib.contextmanager
def _failing_as_a_warning(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as problem:
        # wandb's own process may be gone, for which the error has no class of wandb's.
        log.warning(f"The {what} not logged to Weights & Biases: {reason_of(problem)}")


def log_sweep_table(folder: Path, jobs: Sequence[Path], table: Table) -> str | None:
    """Log the table of a sweep as a run of its own, in the group of the sweep's jobs.

    Where and how follows the first of `jobs` whose configuration logs to wandb; if none does,
    nothing happens. Returns how to upload it and the runs of all jobs if it was offline.
    """
    for job in jobs:
        options = option_of_run(job, "logger.wandb")
        if options is not None:
            break
    else:
        return None
    import wandb

    name = folder.resolve().name
    options_of_run = run_options(
        folder=folder,
        project=options.project,
        entity=options.entity,
        group=name,
        name=f"table of {name}",
        tags=["table"],
        job_type="sweep",
        mode=options.mode,
        # A job of before this option waits for all.
        finish_timeout=options.get("finish_timeout") or 0,
    )
    columns, rows = table.values()
    with _failing_as_a_warning("table was"):
        run = wandb.init(**options_of_run)
        if run.offline:
            keep_paths_relative(run, folder)
        run.log({"table": wandb.Table(columns=[*columns], data=rows)})
    if close_wandb() is None:
        return None
    # The shell fills in the stars.
    places = [str(folder), *dict.fromkeys(str(job.parent) for job in jobs)]
    first, *others = map(shlex.quote, places)
    runs = " ".join([first, *(f"{place}/*/" for place in others)])
    return f'for run in {runs}; do (cd "$run" && wandb sync wandb/offline-run-*); done'
