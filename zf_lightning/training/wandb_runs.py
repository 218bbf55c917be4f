"""Runs of Weights & Biases: their options, their end, and the table of a sweep.

wandb is imported where it is used, and Lightning never: a sweep is started and summed up without
them.
"""

import contextlib
import logging
import os
import shlex
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from zf_lightning.config.instantiate import plain
from zf_lightning.config.options import option_of_run
from zf_lightning.errors import UserError, reason_of
from zf_lightning.results.tables import Table
from zf_lightning.system.files import write_whole
from zf_lightning.system.processes import is_first_process

log = logging.getLogger(__name__)
#: Environment variables of the folders that wandb stages files in, as set here for the last run.
_STAGING: dict[str, str] = {}


def run_options(
    *,
    folder: str | Path,
    project: str,
    entity: str | None,
    group: str | None,
    name: str | None,
    tags: Sequence[str],
    mode: str,
) -> dict[str, Any]:
    """Options of `wandb.init` for a run whose every file stays in `folder`.

    `mode` is `online`, `offline`, `disabled` or `auto`: online where there is an API key, offline
    otherwise. The environment variable WANDB_MODE comes before `mode`. A run that is resumed in
    the same folder is the same run of wandb.
    Raises UserError for another mode.
    """
    modes = ("auto", "online", "offline", "disabled")
    mode = os.environ.get("WANDB_MODE", mode)
    if mode == "dryrun":
        mode = "offline"
    # Before wandb is first asked anything: it reads its settings once.
    os.environ.setdefault("WANDB_SILENT", "true")
    if mode not in modes:
        raise UserError(f"logger.wandb.mode={mode} is not known: it is one of {', '.join(modes)}.")
    folder = Path(folder)
    # Media and artifacts are otherwise staged in the user's home: a run's folder could not be
    # moved and synchronised elsewhere.
    for variable in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ARTIFACT_DIR"):
        # Not the user's own choice, but that of an earlier run of this process.
        if os.environ.get(variable) in (None, _STAGING.get(variable)):
            os.environ[variable] = _STAGING[variable] = str(folder / "wandb")
    if mode == "auto":
        mode = "online" if has_api_key() else "offline"
    return {
        "dir": str(folder),
        "project": project,
        "entity": entity,
        "group": group,
        "name": name or folder.name,
        "tags": list(tags),
        "id": _run_id(folder),
        "resume": "allow",
        "mode": mode,
    }


def has_api_key() -> bool:
    """Whether wandb has a key for its server; nobody is asked for one."""
    import wandb

    return wandb.login(prompt=False, verify=False)


def close_wandb(*, failed: bool = False) -> str | None:
    """Finish the wandb run of this process; returns how to upload it if it was offline."""
    wandb = sys.modules.get("wandb")
    if wandb is None or wandb.run is None:
        return None
    run = wandb.run
    folder = Path(run.settings.sync_dir) if run.offline else None
    try:
        wandb.finish(exit_code=int(failed))
    except Exception as problem:
        # Its process is gone, of which it would complain again at the exit.
        log.warning(f"The run of Weights & Biases was not finished: {reason_of(problem)}")
        with contextlib.suppress(Exception):
            wandb.teardown()
        vars(wandb)["run"] = None
    return f"wandb sync {folder}" if folder is not None and folder.exists() else None


def feature_map_table(rows: Sequence[Sequence[Any]]) -> Any:
    """A table whose rows are feature maps, to be sorted and filtered, from `report.wall`'s rows."""
    import wandb

    columns: list[str | int] = [
        "layer",
        "feature map",
        "strongest activation",
        "classes",
        "picture",
    ]
    data = [[*values, wandb.Image(str(picture))] for *values, picture in rows]
    return wandb.Table(columns=columns, data=data)


def log_figures(
    config: DictConfig, figures: Mapping[str, Path], feature_maps: Sequence[Sequence[Any]] = ()
) -> str | None:
    """Log the pictures of a task without a Trainer as a run; returns how to upload it if offline.

    `feature_maps` are rows of `feature_map_table`.

    Nothing happens without `logger.wandb`; a server that refuses is a warning.
    """
    options = config.logger.get("wandb")
    if options is None or not (figures or feature_maps):
        return None
    import wandb

    values = {key: plain(value) for key, value in options.items() if key != "_target_"}
    try:
        run = wandb.init(
            **run_options(**values), job_type=config.task.name, config={"ckpt": str(config.ckpt)}
        )
        shown: dict[str, Any] = {name: wandb.Image(str(path)) for name, path in figures.items()}
        if feature_maps:
            shown["feature_maps"] = feature_map_table(feature_maps)
        run.log(shown)
    except wandb.Error as problem:
        log.warning(f"The figures were not logged to Weights & Biases: {reason_of(problem)}")
    return close_wandb()


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
        mode=options.mode,
    )
    columns, rows = table.values()
    try:
        run = wandb.init(**options_of_run)
        run.log({"table": wandb.Table(columns=[*columns], data=rows)})
    except wandb.Error as problem:
        log.warning(f"The table was not logged to Weights & Biases: {reason_of(problem)}")
    if close_wandb() is None:
        return None
    # The shell fills in the stars.
    runs = [f"{shlex.quote(str(folder))}/wandb/offline-run-*"]
    runs += dict.fromkeys(f"{shlex.quote(str(job.parent))}/*/wandb/offline-run-*" for job in jobs)
    return f"wandb sync {' '.join(runs)}"


def _run_id(folder: Path) -> str | None:
    if not is_first_process():
        return None
    file = folder / "wandb" / "run_id"
    if file.exists():
        return file.read_text().strip()
    write_whole(file, uuid.uuid4().hex[:8])
    return file.read_text()
