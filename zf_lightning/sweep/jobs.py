"""Each job of a sweep as a single run in a fresh process.

Lightning starts the other processes of a distributed run by repeating its command. Inside a Hydra
multirun they would repeat the whole sweep, deadlock, or train on part of the data.
"""

import contextlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from zf_lightning.errors import UserError
from zf_lightning.sweep.command import record_sweep_command
from zf_lightning.sweep.machine import jobs_at_once, share
from zf_lightning.sweep.names import override_key, quoted, swept_keys
from zf_lightning.sweep.record import Job, current_start
from zf_lightning.system.processes import PARENT_VARIABLE, PATIENCE

#: Environment variables that a parent process of a distributed run sets.
DISTRIBUTED_VARIABLES = re.compile(
    r"(RANK|LOCAL_RANK|GROUP_RANK|NODE_RANK|ROLE_.*|WORLD_SIZE|LOCAL_WORLD_SIZE|MASTER_ADDR"
    r"|MASTER_PORT|TORCHELASTIC_.*|PL_.*"
    # A SLURM job is one run whose processes Lightning starts: it must not mistake the job's only
    # task for one of several that srun started.
    r"|SLURM_(NTASKS|NTASKS_PER_NODE|TASKS_PER_NODE|PROCID|LOCALID|NODEID|STEP_.*))"
)
#: Hydra's own options that belong to the sweep and not to a job of it.
SWEEP_OPTIONS = re.compile(r"hydra[./](sweep|sweeper|launcher|mode|run)\b")


def run_job(config: DictConfig) -> int:
    """Run the current job of a Hydra sweep as a command of its own; returns its exit code.

    Called in the process that Hydra's launcher gave the job. A failure is recorded and does not
    raise, so that the other jobs run; the sweep's summary reports it. A job that an earlier start
    of the sweep has finished is not run again; one that it has begun is resumed.
    Raises UserError, which ends the sweep, if its folder holds another job.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    job = Job(folder, tuple(hydra.overrides.task), current_start(), hydra.job.num)
    earlier = Job.read(folder)
    if earlier is not None:
        _check_same_job(earlier, job)
    record_sweep_command(Path(hydra.sweep.dir))
    if earlier is not None and earlier.result is not None:
        print(f"\n--- {folder.name}: done before ---", flush=True)
        replace(job, exit_code=0).write()
        return 0
    job.write()
    print(f"\n--- {folder.name} ---", flush=True)
    environment = {k: v for k, v in os.environ.items() if not DISTRIBUTED_VARIABLES.fullmatch(k)}
    environment[PARENT_VARIABLE] = str(os.getpid())
    at_once = jobs_at_once(hydra.launcher)
    with contextlib.ExitStack() as stack:
        environment |= stack.enter_context(share(Path(hydra.sweep.dir), at_once))
        output = None
        if at_once is not None and at_once > 1:
            # The bars and tables of several jobs would run into one another.
            output = stack.enter_context((folder / "output.log").open("a"))
        command = _command(config, folder)
        exit_code = _run(command, environment, Path(hydra.runtime.cwd), output)
    replace(job, exit_code=exit_code).write()
    print(f"--- {folder.name}: " + (f"FAILED (exit {exit_code})" if exit_code else "done"))
    return exit_code


def _run(
    command: list[str], environment: dict[str, str], folder: Path, output: TextIO | None
) -> int:
    with subprocess.Popen(
        command, env=environment, cwd=folder, stdout=output, stderr=output
    ) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The job has been interrupted too, and shuts down properly.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=PATIENCE)
            process.kill()
            process.wait()
            raise


def _check_same_job(earlier: Job, job: Job) -> None:
    # The same number is the same job, which a queue stopped and started again.
    if earlier.start == job.start and earlier.number != job.number:
        raise UserError(
            f"Two jobs of this sweep have the same folder {job.folder}; name them apart."
        )
    recorded, asked = set(earlier.overrides), set(job.overrides)
    if recorded != asked:
        raise UserError(
            f"{job.folder} holds a job with other options (recorded: "
            f"{', '.join(sorted(recorded - asked)) or 'nothing more'}; now: "
            f"{', '.join(sorted(asked - recorded)) or 'nothing more'}): start the sweep with the "
            "same command, or give it another hydra.sweep.dir."
        )


def _command(config: DictConfig, folder: Path) -> list[str]:
    hydra = HydraConfig.get()
    overrides = [o for o in hydra.overrides.hydra if not SWEEP_OPTIONS.match(o.lstrip("+~"))]
    return [
        sys.executable,
        # Without the folder that it starts in before all others: a run's files may be called as
        # packages are.
        *("-P", "-m", "zf_lightning"),
        *configuration_flags(hydra),
        *hydra.overrides.task,
        *overrides,
        *_wandb_tags(config),
        f"hydra.run.dir={quoted(str(folder))}",
        f"sweep={quoted(Path(hydra.sweep.dir).resolve().name)}",
    ]


def configuration_flags(hydra: DictConfig | HydraConf) -> list[str]:
    """The flags of the command line that say which configuration is composed."""
    flags = []
    if hydra.job.config_name not in (None, "config"):
        flags += ["--config-name", hydra.job.config_name]
    for source in hydra.runtime.config_sources:
        if source.provider == "command-line":
            flags += ["--config-dir", source.path]
    return flags


def _wandb_tags(config: DictConfig) -> list[str]:
    """The swept overrides as tags of the job's wandb run, after the user's own."""
    tags: Any = OmegaConf.select(config, "logger.wandb.tags")
    if tags is None:
        return []
    swept = [o for o in HydraConfig.get().overrides.task if override_key(o) in swept_keys()]
    # wandb takes no tag of more than 64 characters.
    shown = ",".join(quoted(tag[:64]) for tag in [*tags, *swept])
    return [f"logger.wandb.tags=[{shown}]"]
