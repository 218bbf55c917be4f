"""The end of a sweep: the table of its jobs, and an exit status that says if all came through."""

import sys
import traceback
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from zf_lightning.sweep import (
    begin_sweep,
    build_table,
    command_of,
    configuration_flags,
    read_jobs,
    remember_sweep_command,
    remember_swept,
    swept_keys,
)


class SweepSummary(Callback):
    """Makes the table of a sweep when all jobs have ended; exits with 1 if one failed."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note what is swept, and begin a new list of jobs."""
        sweeper = config.hydra.sweeper
        given = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
        listed = [key for job in sweeper.get("jobs") or [] for key in job]
        remember_swept([*given, *config.hydra.overrides.task], also=listed)
        begin_sweep()
        overrides = config.hydra.overrides
        remember_sweep_command(
            command_of(
                flags=configuration_flags(config.hydra),
                overrides=[*overrides.task, *overrides.hydra],
                sweep=True,
            )
        )

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table, write it, and log it to wandb where the jobs did."""
        try:
            failed = _summarise(Path(config.hydra.sweep.dir))
        except Exception:
            # Hydra would turn what a callback raises into a warning, and exit with 0.
            traceback.print_exc()
            failed = True
        if failed:
            sys.exit(1)


def _summarise(folder: Path) -> bool:
    # Imported here: every run of Hydra makes this callback, and few are sweeps.
    from zf_lightning.report.sweep_page import write_sweep_report
    from zf_lightning.training.wandb_runs import log_sweep_table

    jobs = read_jobs(folder)
    sweep = build_table(jobs, swept_keys())
    table = sweep.table
    page = write_sweep_report(folder, sweep)
    failed = [job for job in jobs if job.exit_code != 0]
    print(f"\n{table.text()}\n")
    upload = log_sweep_table(folder, [job.folder for job in jobs], table)
    for job in failed:
        print(f"FAILED (exit {job.exit_code}): {job.folder}; see run.log there.")
    print(f"{len(failed)} of {len(jobs)} jobs failed." if failed else f"{len(jobs)} jobs done.")
    print(f"The table is in {folder}: {table.name}.csv, .md and .png, and {page}")
    if upload:
        print(f"To upload all runs to Weights & Biases: {upload}")
    return bool(failed)
