"""The checkpoint with the lowest validation error."""

import logging
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from zf_lightning.training.checkpoint_file import is_sound, leave_out_optimizers

log = logging.getLogger(__name__)


class BestCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, which remembers its best score wherever the run's folder lies.

    Lightning's forgets it when its folder has another path than before, and then overwrites the
    best checkpoint by a worse one. A checkpoint that is lost or damaged is forgotten here, so that
    the best of the epochs to come is kept.

    When the training has ended, the optimizers' state is left out of it, half of the bytes: until
    then a run may be resumed from it, where the last checkpoint is lost.
    """

    @property
    def state_key(self) -> str:
        """The name of the state in a checkpoint: that of Lightning's callback."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave out what only a resumed training needs, unless this one was stopped."""
        super().on_train_end(trainer, pl_module)
        epochs, steps = trainer.max_epochs or -1, trainer.max_steps
        ended = 0 <= epochs <= trainer.current_epoch or 0 <= steps <= trainer.global_step
        if ended and trainer.is_global_zero:
            for path in map(Path, self.best_k_models):
                try:
                    leave_out_optimizers(path)
                except OSError as problem:
                    log.warning(f"{path} keeps the optimizer's state: {problem}")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score, and look for its checkpoint in the folder as it is called now."""
        folder = Path(str(self.dirpath))

        def here(path: str) -> str:
            return str(folder / Path(path).name) if path else path

        kept = {here(path): score for path, score in state_dict.get("best_k_models", {}).items()}
        lost = [path for path in kept if not is_sound(Path(path))]
        if lost:
            log.warning(f"{lost[0]} is missing or damaged: the best epoch from here on is kept.")
            return
        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: here(state_dict.get(name, "")) for name in paths}
        state = {**state_dict, **moved, "best_k_models": kept, "dirpath": self.dirpath}
        super().load_state_dict(state)
