"""The end of a sweep: which of its jobs came through, and an exit status that says so."""

import logging
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from zf_lightning.sweep import read_outcomes, remember_swept, start_outcomes

log = logging.getLogger(__name__)


class SweepSummary(Callback):
    """Lists the jobs of a sweep when all have ended; exits with 1 if one failed."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Begin a new list of outcomes, and note what is swept."""
        remember_swept(config.hydra.overrides.task)
        start_outcomes(Path(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the list."""
        folder = Path(config.hydra.sweep.dir)
        outcomes = read_outcomes(folder)
        failed = [outcome for outcome in outcomes if outcome.exit_code != 0]
        print(f"\nSweep of {len(outcomes)} jobs in {folder}:")
        for outcome in outcomes:
            word = "done" if outcome.exit_code == 0 else f"FAILED (exit {outcome.exit_code})"
            print(f"  {word:<18} {outcome.folder}")
        if failed:
            print(f"{len(failed)} of {len(outcomes)} jobs failed; see run.log in their folders.")
            sys.exit(1)
