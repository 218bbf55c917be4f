"""The weights that a training ends with."""

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint


class FinalCheckpoint(Checkpoint):
    """Writes one checkpoint, when the training is over, whatever ended it.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it."""
        trainer.save_checkpoint(self.path)
