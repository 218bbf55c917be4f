"""Files of a finished training as wandb artifacts."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from zf_lightning.atlas import epoch_files
from zf_lightning.system.files import share
from zf_lightning.training.loggers import has_failed

log = logging.getLogger(__name__)


@dataclass(eq=False)
class WandbArtifacts(Callback):
    """Uploads files of a training to wandb when it ends; does nothing without wandb.

    Offline, copies wait in the run's own `wandb/` for `wandb sync`. If wandb refuses a file that is
    a warning: the run has it in its folder.

    Args:
        folder: the run's folder.
        atlas: the last epoch's atlas, with its index.
        checkpoint: `checkpoints/best.ckpt`.
    """

    folder: str | Path
    atlas: bool
    checkpoint: bool

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log them, in the first process."""
        wandbs = [one for one in trainer.loggers if isinstance(one, WandbLogger)]
        loggers = [one for one in wandbs if not has_failed(one)]
        if not loggers or not trainer.is_global_zero:
            return
        description = {"epoch": trainer.current_epoch}
        for kind, files in self.files().items():
            for logger in loggers:
                try:
                    _log(logger, kind, files, description)
                except Exception as problem:
                    # The errors of wandb's clients have no class in common.
                    log.warning(f"Weights & Biases did not take the {kind}: {problem}")

    def files(self) -> dict[str, list[Path]]:
        """The files that are asked for and exist, by their kind."""
        atlases = epoch_files(Path(self.folder))
        best = Path(self.folder) / "checkpoints" / "best.ckpt"
        found = {}
        if self.atlas and atlases:
            found["atlas"] = [atlases[-1], atlases[-1].with_suffix(".json")]
        if self.checkpoint and best.exists():
            found["checkpoint"] = [best]
        return found


def _log(logger: WandbLogger, kind: str, files: list[Path], description: dict[str, Any]) -> None:
    # Imported here: most runs of a notebook or a test have no use for it.
    import wandb

    run = logger.experiment
    # Named after the run: a resumed one adds a version.
    artifact = wandb.Artifact(
        f"{kind}-{run.id}",
        type="model" if kind == "checkpoint" else kind,
        metadata=description,
    )
    for file in files:
        entry = artifact.add_file(str(file))
        if entry.local_path:
            share(file, Path(entry.local_path))
    # An atlas by its epoch, as its file is named; what else is new is the best so far.
    version = "best" if kind == "checkpoint" else files[0].stem.replace("=", "-")
    run.log_artifact(artifact, aliases=["latest", version])
