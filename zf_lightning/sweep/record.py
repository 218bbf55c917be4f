"""What sweeps and runs keep of themselves: `job.json` of a job, `command.json` for `resume=`."""

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zf_lightning.sweep.names import override_key
from zf_lightning.system.files import write_whole

JOB_FILE, COMMAND_FILE = "job.json", "command.json"
#: Where the results of a run and of a sweep go: `resume` decides that.
RUN_FOLDER, SWEEP_FOLDER = "hydra.run.dir", "hydra.sweep.dir"
NOT_KEPT = (RUN_FOLDER, SWEEP_FOLDER, "hydra.mode")
#: Environment variables that the jobs of a sweep inherit: the name of its start, and its command.
SWEEP_VARIABLE, COMMAND_VARIABLE = "ZF_LIGHTNING_SWEEP", "ZF_LIGHTNING_SWEEP_COMMAND"


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
        """The contents of `result.json`, or None if the job has not finished."""
        path = self.folder / "result.json"
        return json.loads(path.read_text()) if path.exists() else None

    def write(self) -> None:
        """Write `job.json`."""
        values = asdict(self)
        del values["folder"]
        write_whole(self.folder / JOB_FILE, json.dumps(values, indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "Job | None":
        """The job of a folder, or None if it has none."""
        path = folder / JOB_FILE
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
    jobs = [Job.read(path.parent) for path in sorted(folder.rglob(JOB_FILE))]
    current = [job for job in jobs if job is not None and job.start == current_start()]
    return sorted(current, key=lambda job: job.number)


def command_of(*, flags: Sequence[str], overrides: Sequence[str], sweep: bool) -> dict[str, Any]:
    """A command as plain data."""
    kept = [override for override in overrides if override_key(override) not in NOT_KEPT]
    return {"sweep": sweep, "flags": list(flags), "overrides": kept}


def record_command(folder: Path, command: dict[str, Any]) -> None:
    """Keep the command of a run or a sweep in its folder."""
    write_whole(folder / COMMAND_FILE, json.dumps(command, indent=2) + "\n")


def remember_sweep_command(command: dict[str, Any]) -> None:
    """Hand the command of a sweep to its jobs: the first that starts owns the sweep's folder."""
    os.environ[COMMAND_VARIABLE] = json.dumps(command)


def record_sweep_command(folder: Path) -> None:
    """Keep what `remember_sweep_command` was given; a sweep that was refused leaves nothing."""
    record_command(folder, json.loads(os.environ[COMMAND_VARIABLE]))
