"""Keeps every convolutional filter within an RMS limit while a network trains (Sec. 3)."""

from typing import Any

from lightning import Callback, LightningModule, Trainer

from zf_lightning.models import filter_rms, renormalise_filters
from zf_lightning.results import metric_names as names


class FilterRenormalisation(Callback):
    """After each step, scale every filter whose RMS exceeds `rms_limit` back to it.

    The paper does not say how often it renormalises; after each update is the natural reading.
    Logs the largest RMS of each layer's filters once an epoch, as `filters/conv1_rms`.
    """

    def __init__(self, rms_limit: float) -> None:
        self.rms_limit = rms_limit

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Renormalise what the optimiser has just changed."""
        renormalise_filters(pl_module.network, self.rms_limit)  # type: ignore[arg-type]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the largest RMS of each layer."""
        for name, rms in filter_rms(pl_module.network).items():  # type: ignore[arg-type]
            pl_module.log(names.filter_rms(name), rms.max())
