"""Detects a network that does not learn: its loss stays where guessing would put it."""

import logging
import math
from dataclasses import dataclass
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from zf_lightning.results import metric_names as names
from zf_lightning.training.loggers import alert

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Stall(Callback):
    """Flags a run whose training loss stays within `tolerance` of ln C, C being the classes.

    The paper's recipe is known to stall on some runs, and good runs can stay there for several
    epochs: hence the patience, in epochs and in steps, both of which must pass. Logs
    `train/stalled` (0 or 1) once an epoch; a run that recovers is no longer flagged.

    Args:
        tolerance: share of ln C by which the epoch's mean loss may differ from it.
        patience_epochs, patience_steps: how long it must stay there.
        stop: stop the training, instead of only warning.
    """

    tolerance: float
    patience_epochs: int
    patience_steps: int
    stop: bool

    def __post_init__(self) -> None:
        #: For how long the loss has been there.
        self.epochs = 0
        self.steps = 0
        self._loss_sum: Tensor | None = None
        self._batches = 0

    @property
    def stalled(self) -> bool:
        """Whether the loss has stayed there beyond the patience, to the last epoch."""
        return self.epochs >= self.patience_epochs and self.steps >= self.patience_steps

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint, so that a resumed run remembers."""
        return {"epochs": self.epochs, "steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.epochs, self.steps = state_dict["epochs"], state_dict["steps"]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the epoch's mean."""
        self._loss_sum, self._batches = None, 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the loss of the batch; it is not read here, so that no GPU waits."""
        loss = outputs["loss"].detach()
        self._loss_sum = loss.clone() if self._loss_sum is None else self._loss_sum.add_(loss)
        self._batches += 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the epoch's mean loss with ln C."""
        if self._loss_sum is None:
            return
        # Lightning divides the loss by the number of batches whose gradients it adds up.
        parts = trainer.accumulate_grad_batches
        mean = trainer.strategy.reduce(self._loss_sum * parts / self._batches, reduce_op="mean")
        assert isinstance(mean, Tensor)
        before = self.stalled
        self.note(
            float(mean),
            classes=len(pl_module.class_names),  # type: ignore[arg-type]
            steps=math.ceil(self._batches / parts),
            epoch=trainer.current_epoch + 1,
        )
        if self.stalled and not before and trainer.is_global_zero:
            text = f"For {self.epochs} epochs its loss has been that of guessing."
            alert(trainer.loggers, "The training has stalled", text)
        pl_module.log(names.STALLED, torch.tensor(float(self.stalled)))
        if self.stalled and self.stop:
            log.warning("callbacks.stall.stop=true: the training ends here.")
            trainer.should_stop = True

    def note(self, loss: float, *, classes: int, steps: int, epoch: int) -> None:
        """Take in the mean loss of an epoch of so many steps; say when a stall begins or ends."""
        chance = math.log(classes)
        before = self.stalled
        if abs(loss - chance) <= self.tolerance * chance:
            self.epochs += 1
            self.steps += steps
        else:
            self.epochs = self.steps = 0
        if self.stalled and not before:
            log.warning(
                f"The training has stalled: for {self.epochs} epochs ({self.steps:,} steps) its "
                f"loss has been {loss:.3f}, where guessing among {classes} classes is "
                f"{chance:.3f}. Another seed, model.initialisation=he with "
                "model.preprocessing.scale=std, or another optimizer.lr may help; "
                "callbacks.stall.stop=true ends such a run."
            )
        elif before and not self.stalled:
            log.info(f"The training moves again after epoch {epoch}: its loss is {loss:.3f}.")
