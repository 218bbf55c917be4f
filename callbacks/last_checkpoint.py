"""The checkpoint from which an interrupted run is resumed."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

#: Several processes agree about the time only at every so many steps: it costs a collective.
STEPS_BETWEEN_CLOCKS = 10


@dataclass(kw_only=True, eq=False)
class LastCheckpoint(Checkpoint):
    """Writes `last.ckpt` after each epoch, and within epochs by the clock or the steps.

    Lightning's ModelCheckpoint does one or the other. Writing changes nothing of what is learnt.
    It is put off by a step while gradients are being accumulated, which no checkpoint holds, and
    before a validation, which a resumed run would leave out.

    Args:
        folder: where `last.ckpt` is written.
        minutes: also in mid-epoch, after so many minutes; None for never.
        steps: also in mid-epoch, after so many steps of the optimiser; None for never.
    """

    folder: str | Path
    minutes: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        self.path = Path(self.folder) / "last.ckpt"
        self._written_at = 0.0
        self._written_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._written_at = time.monotonic()
        self._written_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write in mid-epoch, when it is time."""
        if self._is_safe(trainer, batch_idx) and self._is_due(trainer):
            self._write(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write after the epoch and its validation."""
        self._write(trainer)

    def _is_due(self, trainer: Trainer) -> bool:
        if self.steps is not None and trainer.global_step - self._written_step >= self.steps:
            return True
        if self.minutes is None:
            return False
        late = time.monotonic() - self._written_at >= 60 * self.minutes
        if trainer.world_size == 1:
            return late
        if trainer.global_step % STEPS_BETWEEN_CLOCKS:
            return False
        return trainer.strategy.broadcast(late)

    @staticmethod
    def _is_safe(trainer: Trainer, batch_idx: int) -> bool:
        done = batch_idx + 1
        if trainer.check_val_every_n_epoch is None:
            done = trainer.fit_loop.total_batch_idx + 1
        every: Any = trainer.val_check_batch
        validates = every not in (None, float("inf")) and done % every == 0
        accumulating = (batch_idx + 1) % trainer.accumulate_grad_batches != 0
        return not (trainer.is_last_batch or validates or accumulating)

    def _write(self, trainer: Trainer) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        trainer.save_checkpoint(self.path, weights_only=False)
        self._written_at = time.monotonic()
        self._written_step = trainer.global_step
