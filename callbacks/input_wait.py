"""The time that training waits for its input."""

import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from zf_lightning.data import BatchLoader
from zf_lightning.results import metric_names as names


class InputWait(Callback):
    """Logs `data/wait` once an epoch: the percentage of training time spent waiting for a batch.

    Validations are left out. Of several processes the slowest counts, because the others wait for
    it. Well above 5 % the input limits the training: more workers (`data.workers`), a faster disk,
    or smaller images help.
    """

    def __init__(self) -> None:
        self._began = 0.0
        self._waited = 0.0
        self._validating = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of an epoch that is resumed: Lightning does not call its start."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the epoch."""
        self._began = time.monotonic()
        self._waited = _seconds_waited(trainer)
        self._validating = 0.0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._validating -= time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Resume the clock."""
        self._validating += time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the share."""
        seconds = time.monotonic() - self._began - self._validating
        waited = _seconds_waited(trainer) - self._waited
        share = 100 * waited / max(seconds, 1e-9)
        # Reduced here, on every process: with `sync_dist` Lightning would reduce when the progress
        # bar of the first process asks for the value, and wait for the others for ever.
        longest = torch.tensor(share, dtype=torch.float32, device=pl_module.device)
        longest = trainer.strategy.reduce(longest, reduce_op="max")
        pl_module.log(names.DATA_WAIT, longest)


def _seconds_waited(trainer: Trainer) -> float:
    loader: Any = trainer.train_dataloader
    return loader.seconds_waited if isinstance(loader, BatchLoader) else 0.0
