"""Jobs of a sweep that run at once on one machine share its cores and its GPUs."""

import contextlib
import functools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from zf_lightning.system.cores import CORES_VARIABLE, available_cores


def jobs_at_once(launcher: Mapping[str, Any]) -> int | None:
    """The number of jobs that a Hydra launcher may run at once on this machine.

    None if it is not for this project to divide the machine: there is one job at a time, or a queue
    gives each job its own resources.
    """
    target = str(launcher.get("_target_", ""))
    if target.endswith("JoblibLauncher"):
        asked = int(launcher.get("n_jobs") or 1)
        # -1 is one a core, -2 one fewer, as joblib has it.
        return asked if asked > 0 else max(1, available_cores() + 1 + asked)
    if target.endswith("LocalLauncher"):
        # submitit would start all jobs at the same moment.
        return max(1, available_cores() // (launcher.get("cpus_per_task") or available_cores()))
    return None


@contextlib.contextmanager
def share(folder: Path, jobs: int | None) -> Iterator[dict[str, str]]:
    """Environment variables that give a job one of `jobs` equal shares of the machine.

    Waits until a share is free. Shares in use are locks in `folder`, which the system releases when
    a process ends, however it ends.
    """
    if jobs is None:
        yield {}
        return
    number, lock = _take_share(folder, jobs)
    try:
        yield share_of_machine(number, jobs)
    finally:
        lock.release()


def share_of_machine(number: int, jobs: int) -> dict[str, str]:
    """Environment variables of share `number` of `jobs`: cores, and GPUs if there are any."""
    cores = max(1, available_cores() // jobs)
    variables = {CORES_VARIABLE: str(cores), "OMP_NUM_THREADS": str(cores)}
    devices = _visible_gpus() if jobs > 1 else []
    if devices:
        each = max(1, len(devices) // jobs)
        # With more jobs than GPUs some share one.
        first = number * each % len(devices)
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(devices[first : first + each])
    return variables


def _visible_gpus() -> list[str]:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    return [str(number) for number in range(_count_gpus())]


@functools.cache
def _count_gpus() -> int:
    """The GPUs that PyTorch finds: asked in a process of its own, since importing it takes long."""
    program = "import torch; print(torch.cuda.device_count())"
    return int(subprocess.check_output([sys.executable, "-c", program], text=True))


def _take_share(folder: Path, jobs: int) -> tuple[int, FileLock]:
    locks = folder / ".shares"
    locks.mkdir(parents=True, exist_ok=True)
    while True:
        for number in range(jobs):
            lock = FileLock(locks / f"{number}.lock")
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=0)
                return number, lock
        time.sleep(0.2)
