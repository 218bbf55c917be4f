"""The first failure of a distributed run: which process, and how."""

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from zf_lightning.errors import UserError, reason_of
from zf_lightning.sweep import Job
from zf_lightning.system.compat import on_lost_process
from zf_lightning.system.processes import REPORTING

log = logging.getLogger(__name__)

RECORD = "failure.json"


class FirstFailure(Callback):
    """Notes the first failure of a distributed run in `failure.json` of its folder.

    When one process fails, the others lose their connection to it and fail too, with errors that
    say nothing about the cause. The first to fail writes the note before it closes its
    connections; `told_how_it_ends` reads it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget the failure of an earlier part of the run."""
        if trainer.is_global_zero and stage in ("fit", "validate"):
            (self.folder / RECORD).unlink(missing_ok=True)
            on_lost_process(partial(_end, trainer))

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule | None, exception: BaseException
    ) -> None:
        """Write the note, unless another process has."""
        if trainer.world_size == 1 or not isinstance(exception, Exception):
            return
        note = {
            "process": trainer.global_rank,
            "what": f"failed with {type(exception).__name__}: {reason_of(exception)}",
        }
        # Now: on its way out Lightning ends the others by a signal too.
        lost = _lost_process(trainer)
        if lost is not None:
            note = {"process": lost[0], "what": lost[1]}
        try:
            with (self.folder / RECORD).open("x") as file:
                json.dump(note, file)
        except FileExistsError:
            return
        if trainer.global_rank != 0:
            # At once: the first process may end this one before its trace is printed.
            trace = "".join(traceback.format_exception(exception))
            log.error(f"Process {trainer.global_rank} failed:\n{trace}")


@contextmanager
def told_how_it_ends(trainer: Trainer, folder: Path) -> Iterator[None]:
    """Where a run of `trainer` ends before its time, say why, and how to resume it.

    After Ctrl-C and SIGTERM, by the exit status. Where another process failed first, by a UserError
    with its failure, instead of what followed from that; also outside of the Trainer's own loops.
    """
    try:
        yield
    except SystemExit as end:
        # Lightning leaves so.
        if not trainer.interrupted:
            raise
        if Job.read(folder) is None:
            # A sweep names its own folder.
            log.info(f"Interrupted; resume with python main.py resume={folder}")
        sys.exit(143 if isinstance(end, SIGTERMException) else 130)
    except Exception as problem:
        FirstFailure(folder).on_exception(trainer, None, problem)
        cause = None if trainer.world_size == 1 else _first_failure(trainer, folder)
        if cause is None:
            raise
        raise UserError(
            f"The run ended because {cause}; what that process said is above and in "
            f"{folder / 'run.log'}."
        ) from problem


def _first_failure(trainer: Trainer, folder: Path) -> str | None:
    """What ended a process other than this one, as part of a sentence, if that came first."""
    path = folder / RECORD
    if not path.exists():
        return None
    note = json.loads(path.read_text())
    if note["process"] == trainer.global_rank:
        return None
    return _named(trainer, note["process"], note["what"])


def _lost_process(trainer: Trainer, *, seconds: float = 1.0) -> tuple[int, str] | None:
    """Rank and end of a process that this one started and that has not ended well."""
    processes = getattr(trainer.strategy.launcher, "procs", [])
    # Its connection is closed a moment before its end is known.
    deadline = time.monotonic() + (seconds if processes else 0.0)
    while True:
        for rank, process in enumerate(processes, start=1):
            code = process.poll()
            if code:
                how = f"was killed by signal {-code}" if code < 0 else "ended"
                return rank, f"{how} (exit status {code})"
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.05)


def _end(trainer: Trainer) -> None:
    """End a run that has lost a process, if it does not end by itself: it may wait for that."""
    # In a thread that ends with the run.
    time.sleep(REPORTING)
    lost = _lost_process(trainer)
    if lost is not None:
        log.error(f"error: The run ended because {_named(trainer, *lost)}.")
    for process in getattr(trainer.strategy.launcher, "procs", []):
        process.kill()
    os._exit(1)


def _named(trainer: Trainer, process: int, what: str) -> str:
    return f"process {process} of {trainer.world_size} (the first is 0) {what}"
