"""The record of a sweep's job: `job.json` in its folder, and its result."""

import logging
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zf_lightning.errors import DamagedFile
from zf_lightning.system.sealed import read_json, write_json

log = logging.getLogger(__name__)

RECORD = "job.json"
SWEEP_VARIABLE = "ZF_LIGHTNING_SWEEP"


@dataclass(frozen=True)
class Job:
    """A job of a sweep.

    `start` names the start of the sweep that ran it, or found it finished; `number` is its place
    there. `exit_code` is None while it runs.
    """

    folder: Path
    overrides: tuple[str, ...]
    start: str
    number: int
    exit_code: int | None = None

    @property
    def result(self) -> dict[str, Any] | None:
        """The contents of `result.json`; None if it is damaged, or the job has not finished."""
        return _read(self.folder / "result.json")

    def write(self) -> None:
        """Write `job.json`."""
        values = asdict(self)
        del values["folder"]
        write_json(self.folder / RECORD, values)

    @classmethod
    def read(cls, folder: Path) -> "Job | None":
        """The job of a folder; None if it has none, or only a damaged record of it."""
        values = _read(folder / RECORD)
        if values is None:
            return None
        return cls(folder, **values | {"overrides": tuple(values["overrides"])})


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return read_json(path)
    except FileNotFoundError:
        return None
    except DamagedFile as damage:
        log.warning(f"{damage} It is as if it were not there.")
        return None


def begin_sweep() -> None:
    """Give this start of a sweep a name of its own, which its jobs in other processes inherit."""
    os.environ[SWEEP_VARIABLE] = uuid.uuid4().hex


def current_start() -> str:
    """The name that `begin_sweep` gave."""
    return os.environ[SWEEP_VARIABLE]


def read_jobs(folder: Path) -> list[Job]:
    """The jobs below `folder` that the current start of its sweep ran, in their order."""
    jobs = [Job.read(path.parent) for path in sorted(folder.rglob(RECORD))]
    current = [job for job in jobs if job is not None and job.start == current_start()]
    return sorted(current, key=lambda job: job.number)
