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
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import OmegaConf

from zf_lightning.errors import UserError
from zf_lightning.results.tables import Table
from zf_lightning.system.files import write_whole

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
        #: The columns of the file, how many of its rows are complete, and where the last begins.
        self._columns: list[str] = []
        self._written = 0
        self._end = 0
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
        """Add the values of a step to its row."""
        step = 0 if step is None else step
        if not self._started:
            self._started = True
            self._rows = [row for row in _read_rows(self._path) if int(row["step"]) <= step]
        if not self._rows or int(self._rows[-1]["step"]) != step:
            self._rows.append({"step": step})
        self._rows[-1].update(metrics)

    @rank_zero_only
    def save(self) -> None:
        """Bring the file up to date; Lightning calls this after each `log_metrics`.

        A checkpoint that is written afterwards knows of no step whose row is lost but its own
        last, which Lightning logs after the callbacks that may write one.
        """
        if not self._rows:
            return
        new = {key for row in self._rows[self._written :] for key in row}
        whole = not new <= set(self._columns)
        if whole:
            names = {key for row in self._rows for key in row} - {"epoch", "step"}
            self._columns = ["epoch", "step", *sorted(names)]
            self._written, self._end = 0, 0
        complete = self._csv(self._rows[self._written : -1], header=whole)
        # The last row may still grow, and is written again then.
        lines = complete + self._csv(self._rows[-1:])
        if whole:
            write_whole(self._path, lines)
        else:
            with self._path.open("r+b") as file:
                file.seek(self._end)
                file.write(lines)
                file.truncate()
        self._written = len(self._rows) - 1
        self._end += len(complete)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Bring the file up to date."""
        self.save()

    def _csv(self, rows: list[dict[str, Any]], *, header: bool = False) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns)
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()


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
        mode = "online" if has_api_key() else "offline"
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


def has_api_key() -> bool:
    """Whether wandb has a key for its server; nobody is asked for one."""
    return wandb.login(prompt=False, verify=False)


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


def log_table(loggers: Sequence[Logger], table: Table) -> None:
    """Give a table to the loggers that take one: wandb as a table, TensorBoard as text."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            rows: list[Any] = [list(row) for row in table.rows]
            logger.log_table(table.name, columns=list(table.columns), data=rows)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text(table.name, table.markdown())


def close_wandb(*, failed: bool = False) -> str | None:
    """Finish the wandb run of this process; returns how to upload it if it was offline."""
    run = wandb.run
    if run is None:
        return None
    folder = Path(run.settings.sync_dir) if run.offline else None
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


@rank_zero_only
def _run_id(folder: Path) -> str:
    file = folder / "wandb" / "run_id"
    if file.exists():
        return file.read_text().strip()
    write_whole(file, uuid.uuid4().hex[:8])
    return file.read_text()
