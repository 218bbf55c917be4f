"""Loggers: `metrics.csv`, and Weights & Biases."""

import functools
import logging
import sys
import weakref
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from zf_lightning.errors import UserError, reason_of
from zf_lightning.results import metric_names as names
from zf_lightning.results.metrics_file import format_rows, read_rows
from zf_lightning.results.tables import Table
from zf_lightning.system.files import write_whole
from zf_lightning.training.shown_configuration import shown_configuration
from zf_lightning.training.wandb_options import run_options
from zf_lightning.training.wandb_runs import (
    describe_run,
    feature_map_table,
    share_staged,
)

log = logging.getLogger(__name__)
Value = TypeVar("Value")
#: What Lightning calls of a logger while a network trains.
CALLED = ("log_metrics", "log_graph", "save", "finalize", "after_save_checkpoint")
#: So many classes a confusion matrix may have.
MOST_CONFUSED = 100
#: Loggers that have failed, which are not called again.
_FAILED: weakref.WeakSet[Logger] = weakref.WeakSet()


def forgiving(logger: Logger) -> Logger:
    """The same logger; its first failure while a network trains is a warning, and its last call.

    `metrics.csv` is tried again: it keeps its rows.
    """
    for name in CALLED:
        if not isinstance(logger, MetricsFile):
            # On the instance: Lightning and the callbacks ask for its class.
            setattr(logger, name, functools.partial(_call_method, logger, name))
    return logger


def attempt(logger: Logger, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call something that speaks to a logger, unless that has failed; a failure is a warning."""
    if has_failed(logger):
        return None
    try:
        return call(*args, **options)
    except Exception as problem:
        # The errors of loggers have no class in common.
        _give_up(logger, problem)


def _give_up(logger: Logger, problem: Exception) -> None:
    _FAILED.add(logger)
    log.warning(
        f"{type(logger).__name__} has failed ({reason_of(problem)}): nothing more is logged "
        "to it; the run goes on."
    )


def has_failed(logger: Logger) -> bool:
    """Whether a logger has failed, and is called no more."""
    return logger in _FAILED


def _call_method(logger: Logger, name: str, *args: Any, **options: Any) -> Any:
    if name == "log_metrics":
        metrics = args[0] if args else options.pop("metrics")
        args = (count_from_one(metrics), *args[1:])
    return attempt(logger, getattr(type(logger), name), logger, *args, **options)


def count_from_one(metrics: Mapping[str, Value]) -> dict[str, Value | int]:
    """Metrics with the epoch as people count it; Lightning's first is 0.

    A test comes after the last: Lightning's epoch is the number of those that were trained.
    """
    values: dict[str, Any] = dict(metrics)
    if names.EPOCH in values and not any(name.startswith("test/") for name in values):
        values[names.EPOCH] = int(values[names.EPOCH]) + 1
    return values


class MetricsFile(Logger):
    """`metrics.csv`: a row for each step at which something was logged.

    A resumed run keeps the rows of its first part, except those of steps that it repeats
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
        self._warned = False

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
            rows = read_rows(self._path, keep_damaged=True)
            if any(row.get(names.EPOCH) == "0" for row in rows):
                # Version 0.1.0 counted as Lightning does.
                rows = [count_from_one(row) for row in rows]
            self._rows = [row for row in rows if int(row["step"]) <= step]
        if not self._rows or int(self._rows[-1]["step"]) != step:
            self._rows.append({"step": step})
        self._rows[-1].update(count_from_one(metrics))

    @rank_zero_only
    def save(self) -> None:
        """Bring the file up to date; Lightning calls this after each `log_metrics`.

        So a checkpoint that is written afterwards has no steps whose rows are lost, except its own
        last one, which Lightning logs after the callbacks that may write a checkpoint.
        What the disk does not take is a warning, once, and is written when it can be.
        """
        try:
            self._save()
        except OSError as problem:
            if not self._warned:
                log.warning(f"{self._path} could not be written ({problem}); the run goes on.")
            self._warned = True

    def _save(self) -> None:
        if not self._rows:
            return
        new = {key for row in self._rows[self._written :] for key in row}
        whole = not new <= set(self._columns) or not self._path.exists()
        if whole:
            names = {key for row in self._rows for key in row} - {"epoch", "step"}
            self._columns = ["epoch", "step", *sorted(names)]
            self._written, self._end = 0, 0
        complete = format_rows(self._columns, self._rows[self._written : -1], header=whole)
        # The last row may still grow, and is written again then.
        lines = complete + format_rows(self._columns, self._rows[-1:])
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


@functools.wraps(run_options, assigned=())
def wandb_logger(**of_run: Any) -> WandbLogger:
    """A Weights & Biases logger; its options are those of `wandb_options.run_options`."""
    options = run_options(**of_run)
    return WandbLogger(save_dir=options.pop("dir"), **options)


def log_configuration(loggers: Sequence[Logger], values: dict[str, Any]) -> None:
    """Give each logger the configuration; this is also where wandb first meets its server.

    As `shown_configuration` has it. Another failure of a logger is a warning, as later ones are.
    Raises UserError if wandb refuses the key, or cannot be reached within its 90 seconds.
    """
    for logger in loggers:
        try:
            logger.log_hyperparams(shown_configuration(values))
        except Exception as problem:
            wandb = sys.modules.get("wandb")
            if wandb is not None and isinstance(problem, wandb.Error):
                raise UserError(
                    f"Weights & Biases did not take the run ({reason_of(problem)}); to train "
                    "without its server use logger.wandb.mode=offline, and upload the run later."
                ) from problem
            _give_up(logger, problem)
    _to_wandb(loggers, lambda run: describe_run(run, values))


def log_summary(loggers: Sequence[Logger], result: dict[str, Any]) -> None:
    """Let wandb's summary, by which its runs are sorted, be what `result.json` says.

    wandb's own is what was logged last, which is not of the best epoch.
    """
    values = {key: value for key, value in result.items() if isinstance(value, str | int | float)}
    _to_wandb(loggers, lambda run: run.summary.update(values))


def alert(loggers: Sequence[Logger], title: str, text: str) -> None:
    """Let wandb tell the run's owner, by mail or as they have chosen, of a run that needs them."""
    _to_wandb(loggers, lambda run: run.alert(title=title, text=text))


def log_feature_maps(loggers: Sequence[Logger], rows: Sequence[Mapping[str, Any]]) -> None:
    """Give wandb the table of `wandb_runs.feature_map_table`."""

    def give(run: Any) -> None:
        run.log({"feature_maps": feature_map_table(rows)})
        share_staged([row["picture"] for row in rows])

    if rows:
        _to_wandb(loggers, give)


def log_confusion(
    loggers: Sequence[Logger], labels: list[int], answers: list[int], class_names: Sequence[str]
) -> None:
    """Give wandb the confusion matrix of some images; of many classes none can be read."""
    if not answers or len(class_names) > MOST_CONFUSED:
        return

    def give(run: Any) -> None:
        import wandb

        matrix = wandb.plot.confusion_matrix(
            y_true=labels, preds=answers, class_names=[*class_names], title="Confusion, ten crops"
        )
        run.log({"confusion": matrix})

    _to_wandb(loggers, give)


def _to_wandb(loggers: Sequence[Logger], give: Callable[[Any], object]) -> None:
    """Give something to the run of each of wandb's loggers."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            attempt(logger, lambda of: give(of.experiment), logger)


def log_table(loggers: Sequence[Logger], table: Table) -> None:
    """Give a table to the loggers that take one: wandb as a table, TensorBoard as text."""
    for logger in loggers:
        attempt(logger, _log_table, logger, table)


def _log_table(logger: Logger, table: Table) -> None:
    if isinstance(logger, WandbLogger):
        columns, rows = table.values()
        logger.log_table(table.name, columns=columns, data=rows)
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_text(table.name, table.markdown())
