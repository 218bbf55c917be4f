"""Where the curves of a run go: its own file, and Weights & Biases."""

import csv
import io
import logging
import os
import uuid
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import OmegaConf

from zf_lightning.errors import UserError

log = logging.getLogger(__name__)


class MetricsFile(Logger):
    """`metrics.csv`: a row for each step at which something was logged.

    A run that goes on keeps the rows of its first part, except those of steps that it takes again
    (Lightning's own CSV logger deletes the file).
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self._path = Path(path)
        self._rows: list[dict[str, Any]] = []
        #: How many rows stand in the file, under which columns.
        self._written = 0
        self._columns: list[str] | None = None
        self._started = False

    @property
    def name(self) -> str:
        """Of the logger."""
        return "csv"

    @property
    def version(self) -> str:
        """There is one file a run."""
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kw: Any) -> None:
        """Nothing: the run's configuration is in `config.yaml`."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add the values of a step to its row; a row is written when the next one begins."""
        step = 0 if step is None else step
        if not self._started:
            self._started = True
            self._rows = [row for row in _read_rows(self._path) if int(row["step"]) <= step]
        if not self._rows or int(self._rows[-1]["step"]) != step:
            self._rows.append({"step": step})
        elif self._written == len(self._rows):
            # The row was thought to be complete: the file is written anew.
            self._columns = None
        self._rows[-1].update(metrics)

    @rank_zero_only
    def save(self) -> None:
        """Write the rows that are complete; Lightning calls this after each `log_metrics`."""
        self._write(len(self._rows) - 1)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is left."""
        self._write(len(self._rows))

    def _write(self, rows: int) -> None:
        new = self._rows[self._written : rows]
        if rows < 1 or (not new and self._columns is not None):
            return
        known = set(self._columns or ["epoch", "step"])
        unknown = {key for row in (new if self._columns else self._rows[:rows]) for key in row}
        if self._columns is None or unknown - known:
            self._columns = ["epoch", "step", *sorted((known | unknown) - {"epoch", "step"})]
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self._path.with_suffix(".unfinished")
            with unfinished.open("w", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=self._columns)
                writer.writeheader()
                writer.writerows(self._rows[:rows])
            unfinished.rename(self._path)
        else:
            with self._path.open("a", newline="") as file:
                csv.DictWriter(file, fieldnames=self._columns).writerows(new)
        self._written = rows


def _read_rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    # Not the rest of a line that was being written when the process was killed.
    whole = path.read_bytes().rpartition(b"\n")[0].decode()
    return [{k: v for k, v in row.items() if v} for row in csv.DictReader(io.StringIO(whole))]


def wandb_logger(
    *,
    folder: str | Path,
    project: str,
    entity: str | None,
    group: str | None,
    name: str | None,
    tags: Sequence[str],
    mode: str,
) -> WandbLogger:
    """A Weights & Biases logger whose every file stays in the run's folder.

    `mode` is `online`, `offline`, `disabled` or `auto`: online where there is an API key, offline
    otherwise. The environment variable WANDB_MODE comes before `mode`. A run that goes on in the
    same folder goes on as the same run.
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
        os.environ.setdefault(variable, str(folder / "wandb"))
    if mode == "auto":
        mode = "online" if _has_api_key() else "offline"
    return WandbLogger(
        save_dir=str(folder),
        project=project,
        entity=entity,
        group=group,
        name=name or folder.name,
        tags=list(tags),
        id=_run_id(folder),
        resume="allow",
        mode=mode,
    )


def log_configuration(loggers: Sequence[Logger], values: dict[str, Any]) -> None:
    """Give each logger the configuration; this is also where wandb first meets its server.

    Raises UserError if wandb refuses the key, or cannot be reached within its 90 seconds.
    """
    for logger in loggers:
        try:
            logger.log_hyperparams(values)
        except wandb.Error as problem:
            reason = str(problem).strip().split("\n")[0]
            raise UserError(
                f"Weights & Biases did not take the run ({reason}); to go on without its server "
                "use logger.wandb.mode=offline, and upload the run later."
            ) from problem


def close_wandb(*, failed: bool = False) -> str | None:
    """Finish the wandb run of this process; returns how to upload it if it was offline."""
    run = wandb.run
    if run is None:
        return None
    folder = Path(run.settings.sync_dir) if run.settings._offline else None
    wandb.finish(exit_code=int(failed))
    return f"wandb sync {folder}" if folder is not None and folder.exists() else None


def log_sweep_table(
    folder: Path, jobs: Sequence[Path], table: tuple[list[str], list[list[Any]]]
) -> str | None:
    """Log the table of a sweep as a run of its own, in the group of the sweep's jobs.

    Where and how follows the first of `jobs` whose configuration logs to wandb; if none does,
    nothing happens. Returns how to upload the run if it was offline.
    """
    for job in jobs:
        path = job / "config.yaml"
        options = OmegaConf.select(OmegaConf.load(path), "logger.wandb") if path.exists() else None
        if options is not None:
            break
    else:
        return None
    name = folder.resolve().name
    logger = wandb_logger(
        folder=folder,
        project=options.project,
        entity=options.entity,
        group=name,
        name=f"table of {name}",
        tags=["table"],
        mode=options.mode,
    )
    columns: list[Any] = table[0]
    try:
        logger.experiment.log({"table": wandb.Table(columns=columns, data=table[1])})
    except wandb.Error as problem:
        log.warning(f"The table was not logged to Weights & Biases: {str(problem).strip()}")
    return close_wandb()


def _has_api_key() -> bool:
    return wandb.login(prompt=False, verify=False)


@rank_zero_only
def _run_id(folder: Path) -> str:
    file = folder / "wandb" / "run_id"
    if file.exists():
        return file.read_text().strip()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(uuid.uuid4().hex[:8])
    return file.read_text()
