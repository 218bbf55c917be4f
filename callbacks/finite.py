"""Stops a training that has diverged before its weights are saved."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from zf_lightning.errors import UserError
from zf_lightning.training.loggers import alert


class Finite(Callback):
    """Stops training when the loss or the weights become NaN or infinite, before they are saved.

    The losses are checked every `every_n_steps` steps, since reading them makes a GPU wait, and
    before each validation; losses and weights before each checkpoint.

    Raises:
        UserError: the training has diverged; in all processes at once.
    """

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps
        #: Sum of the losses since the last check: finite if they all are.
        self._losses: Tensor | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the loss, and check the sum when it is time."""
        loss = outputs["loss"].detach()
        self._losses = loss.clone() if self._losses is None else self._losses.add_(loss)
        if (batch_idx + 1) % self.every_n_steps == 0:
            self._check_losses(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the losses before a validation that would mean nothing."""
        if trainer.state.fn == "fit":
            self._check_losses(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Check losses and weights: the last step may have spoilt these."""
        self._check_losses(trainer)
        spoilt = [~torch.isfinite(value).all() for value in pl_module.parameters()]
        _stop_if(trainer, bool(torch.stack(spoilt).any()), "a weight")

    def _check_losses(self, trainer: Trainer) -> None:
        losses, self._losses = self._losses, None
        _stop_if(trainer, losses is not None and not bool(torch.isfinite(losses)), "the loss")


def _stop_if(trainer: Trainer, spoilt: bool, what: str) -> None:
    # All processes decide together: one that stopped alone would leave the others waiting.
    if trainer.strategy.reduce_boolean_decision(spoilt, all=False):
        reason = (
            f"{what} is no longer a number at step {trainer.global_step} of epoch "
            f"{trainer.current_epoch + 1}."
        )
        if trainer.is_global_zero:
            alert(trainer.loggers, "The training has diverged", reason)
        raise UserError(
            f"The training has diverged: {reason} Lower optimizer.lr, or "
            "give trainer.gradient_clip_val; the checkpoints are from before."
        )
