"""What is known of a job of a sweep: `job.json` in its folder, and its result."""

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORD = "job.json"
SWEEP_VARIABLE = "ZF_LIGHTNING_SWEEP"


@dataclass(frozen=True)
class Job:
    """A job of a sweep.

    `start` is which start of the sweep ran it, or found it finished; `number` its place there.
    `exit_code` is None while it runs.
    """

    folder: Path
    overrides: tuple[str, ...]
    start: str
    number: int
    exit_code: int | None = None

    @property
    def result(self) -> dict[str, Any] | None:
        """What `result.json` holds, or None if the job has not finished."""
        path = self.folder / "result.json"
        return json.loads(path.read_text()) if path.exists() else None

    def write(self) -> None:
        """Write `job.json`, whole or not at all."""
        values = {
            "overrides": self.overrides,
            "start": self.start,
            "number": self.number,
            "exit_code": self.exit_code,
        }
        unfinished = self.folder / f"{RECORD}.unfinished"
        unfinished.write_text(json.dumps(values, indent=2) + "\n")
        unfinished.replace(self.folder / RECORD)

    @classmethod
    def read(cls, folder: Path) -> "Job | None":
        """The job of a folder, or None if there was none yet."""
        path = folder / RECORD
        if not path.exists():
            return None
        values = json.loads(path.read_text())
        return cls(folder, **values | {"overrides": tuple(values["overrides"])})


def begin_sweep() -> None:
    """Give this start of a sweep a name of its own, which its jobs in other processes inherit."""
    os.environ[SWEEP_VARIABLE] = uuid.uuid4().hex


def current_start() -> str:
    """The name that `begin_sweep` gave."""
    return os.environ[SWEEP_VARIABLE]


def read_jobs(folder: Path) -> list[Job]:
    """The jobs below `folder` that the current start of its sweep ran, in their order."""
    found = [Job.read(path.parent) for path in sorted(folder.rglob(RECORD))]
    current = [job for job in found if job is not None and job.start == current_start()]
    return sorted(current, key=lambda job: job.number)
