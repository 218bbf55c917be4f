"""How a checkpoint gets onto the disk."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from zf_lightning.system.files import write_whole


class WholeCheckpointFile(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, beside the one that it replaces.

    Lightning writes it to the system's temporary folder and moves it from there. Where that is
    another file system the move is a copy, and a run that is killed meanwhile is left with half a
    checkpoint and nothing to go on from.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write `checkpoint` to `path`; addresses as s3://… are left to Lightning."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
        else:
            write_whole(path, lambda target: torch.save(checkpoint, target))
