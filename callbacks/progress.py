"""The progress bar: images a second, and the time that is left of the whole run."""

import sys
import time
from collections import deque
from datetime import timedelta
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from zf_lightning.results import metric_names as names


class Progress(TQDMProgressBar):
    """Lightning's bar with the images a second of all processes together, and the time left.

    Also logs the rate once an epoch, as `train/images_per_second`. In a file, rather than on a
    terminal, the bar is drawn about ten times an epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self._drawn_every: int | None = None
        self._marks: deque[tuple[float, int]] = deque(maxlen=50)
        self._images = 0
        self._epoch_images = 0
        self._epoch_began = 0.0
        self._epoch_seconds: float | None = None
        self._epoch_whole_began = 0.0

    @property
    def refresh_rate(self) -> int:
        """The bar is drawn again after so many batches."""
        return self._drawn_every or super().refresh_rate

    def on_train_start(self, trainer: Trainer, *arguments: Any) -> None:
        """Make the bar, and begin an epoch that is resumed: Lightning does not call its start."""
        super().on_train_start(trainer, *arguments)
        self._epoch_whole_began = 0.0
        if trainer.fit_loop.restarted_mid_epoch:
            self.on_train_epoch_start(trainer, *arguments)
            # Part of an epoch does not tell how long a whole one takes.
            self._epoch_whole_began = 0.0

    def on_train_epoch_start(self, trainer: Trainer, *arguments: Any) -> None:
        """Start the clock of the epoch."""
        if not sys.stdout.isatty():
            batches = trainer.num_training_batches
            tenth = int(batches / 10) if batches != float("inf") else 1000
            self._drawn_every = max(1, tenth)
        super().on_train_epoch_start(trainer, *arguments)
        # Counted from 1, as everywhere; Lightning's first is 0.
        self.train_progress_bar.set_description(f"Epoch {trainer.current_epoch + 1}")
        now = time.monotonic()
        if self._epoch_whole_began:
            # From start to start: the validation is in it.
            self._epoch_seconds = now - self._epoch_whole_began
        self._epoch_whole_began = self._epoch_began = now
        self._epoch_images = 0
        self._marks.clear()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch."""
        images = len(batch.labels) * trainer.world_size
        self._images += images
        self._epoch_images += images
        self._marks.append((time.monotonic(), self._images))
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the mean rate of the epoch's training."""
        marks = self._marks
        if marks:
            seconds = marks[-1][0] - self._epoch_began
            pl_module.log(
                names.IMAGES_PER_SECOND, self._epoch_images / seconds, rank_zero_only=True
            )
        super().on_train_epoch_end(trainer, pl_module)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The values at the end of the bar."""
        shown = super().get_metrics(trainer, pl_module)
        shown.pop("v_num", None)
        rate = self._rate()
        if rate is not None:
            shown["images/s"] = f"{rate:.0f}"
            left = self._seconds_left(trainer)
            if left is not None:
                shown["left"] = str(timedelta(seconds=round(left)))
        return shown

    def init_validation_tqdm(self) -> Tqdm:
        """Validation has a bar only on a terminal: in a file it is a line too many each epoch."""
        bar = super().init_validation_tqdm()
        bar.disable = bar.disable or not sys.stdout.isatty()
        return bar

    def _rate(self) -> float | None:
        if len(self._marks) < 2:
            return None
        (began, first), (ended, last) = self._marks[0], self._marks[-1]
        return (last - first) / max(ended - began, 1e-9)

    def _seconds_left(self, trainer: Trainer) -> float | None:
        batches = trainer.num_training_batches
        if trainer.max_epochs is None or trainer.max_epochs < 0 or batches == float("inf"):
            return None
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        epochs = trainer.max_epochs - trainer.current_epoch
        if self._epoch_seconds is not None:
            return self._epoch_seconds * (epochs - done / max(1, batches))
        per_batch = (self._marks[-1][0] - self._marks[0][0]) / (len(self._marks) - 1)
        return per_batch * (epochs * batches - done)
