"""Sweeps: each job a process of its own, and the table of them all (Table 3)."""

from zf_lightning.sweep.command import command_of, record_command, remember_sweep_command
from zf_lightning.sweep.jobs import (
    DISTRIBUTED_VARIABLES,
    SWEEP_OPTIONS,
    configuration_flags,
    run_job,
)
from zf_lightning.sweep.names import (
    job_folder,
    override_key,
    quoted,
    remember_swept,
    swept_keys,
)
from zf_lightning.sweep.record import Job, begin_sweep, read_jobs
from zf_lightning.sweep.rows import changes_layers
from zf_lightning.sweep.table import SweepTable, build_table

__all__ = [
    "DISTRIBUTED_VARIABLES",
    "SWEEP_OPTIONS",
    "Job",
    "SweepTable",
    "begin_sweep",
    "build_table",
    "changes_layers",
    "command_of",
    "configuration_flags",
    "job_folder",
    "override_key",
    "quoted",
    "read_jobs",
    "record_command",
    "remember_sweep_command",
    "remember_swept",
    "run_job",
    "swept_keys",
]
