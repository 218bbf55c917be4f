"""Checkpoint files: written whole, and checked before anything in them is used."""

import errno
import functools
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from zf_lightning.config.renamed import with_current_targets
from zf_lightning.config.targets import check_stored
from zf_lightning.errors import DamagedFile, UserError
from zf_lightning.models.weights import unpickling_problem
from zf_lightning.system.files import write_whole
from zf_lightning.system.sealed import check_archive, seal_archive

log = logging.getLogger(__name__)

#: What a training needs to resume, beside weights and parameters.
STATE = ("epoch", "global_step", "loops", "callbacks", "optimizer_states", "lr_schedulers")


class WholeCheckpointFile(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, beside the one that it replaces; reads it checked.

    Lightning writes it to the system's temporary folder and moves it. Where that is another file
    system the move is a copy, and a run that is killed meanwhile has half a checkpoint and nothing
    to resume from.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write `checkpoint` to `path`; addresses as s3://… are left to Lightning."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
        else:
            write_whole(path, lambda target: _save(checkpoint, target))

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any = lambda storage, location: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """As `read_checkpoint`; of addresses too only tensors and plain data are read."""
        if "://" in str(path):
            return super().load_checkpoint(path, map_location, weights_only=True)
        return read_checkpoint(Path(path), map_location=map_location, mmap=False)


def read_checkpoint(
    path: Path, *, resumable: bool = False, map_location: Any = "cpu", mmap: bool = True
) -> dict[str, Any]:
    """The contents of a checkpoint file, its tensors left on disk until they are used.

    Every part is compared with its checksum, and the stored configuration names only code that may
    be called (`config.targets`), under its names of today.

    Args:
        resumable: it must hold all that a training resumes from.
        mmap: False to read the tensors at once.

    Raises DamagedFile, and UserError for what is not a checkpoint of this project.
    """
    state = path.stat()
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            raise DamagedFile.at(path, "or another file: it cannot be read as a checkpoint")
    _check_once(path, state.st_size, state.st_mtime_ns, state.st_ino)
    try:
        contents = torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as problem:
        reason = unpickling_problem(problem)
        raise UserError(f"{path} cannot be read as a checkpoint ({reason}).") from problem
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as problem:
        raise DamagedFile.at(path, problem) from problem
    contents = contents if isinstance(contents, dict) else {}
    parameters = contents.get("hyper_parameters")
    if not isinstance(parameters, dict) or not {"model", "class_names"} <= set(parameters):
        raise UserError(f"{path} is not a checkpoint of a network trained here.")
    lacking = [
        part for part in ("state_dict", *(STATE if resumable else ())) if part not in contents
    ]
    if lacking:
        raise DamagedFile.at(path, f"it lacks {', '.join(lacking)}")
    if not all(isinstance(value, Tensor) for value in contents["state_dict"].values()):
        raise DamagedFile.at(path, "its state_dict holds more than tensors")
    contents["hyper_parameters"] = with_current_targets(parameters)
    check_stored(contents["hyper_parameters"], file=path)
    return contents


def checkpoint_to_resume(folder: Path) -> Path | None:
    """The checkpoint in `folder` from which a training resumes; None if there is none.

    It is `last.ckpt`, or where that is missing or damaged the newest sound one.
    Raises DamagedFile, naming the first, if none is sound.
    """
    last = folder / "last.ckpt"
    others = {path: path.stat().st_mtime_ns for path in folder.glob("*.ckpt") if path != last}
    problem: UserError | None = None
    for path in (last, *sorted(others, key=lambda path: others[path], reverse=True)):
        try:
            found = read_checkpoint(path, resumable=True)
        except FileNotFoundError:
            problem = UserError(f"{path} is missing.") if others else None
        except DamagedFile as damage:
            problem = problem or damage
        else:
            if problem is not None:
                log.warning(f"{problem} Resuming from {path}, after {found['global_step']} steps.")
            return path
    if problem is not None:
        raise DamagedFile(
            f"{problem} No other checkpoint in {folder} is sound: delete that folder to train anew."
        )
    return None


def leave_out_optimizers(path: Path) -> None:
    """Write a checkpoint again without the optimizers' state: no training resumes from it then.

    A folder, as some strategies write it, stays as it is. Raises OSError.
    """
    if path.is_file():
        contents = read_checkpoint(path)
        if contents.pop("optimizer_states", None):
            WholeCheckpointFile().save_checkpoint(contents, path)


def _save(checkpoint: dict[str, Any], path: Path) -> None:
    try:
        torch.save(checkpoint, path)
    except RuntimeError as problem:
        # What PyTorch's writer says of a disk that has become full: "unexpected pos 64 vs 0".
        if "unexpected pos" not in str(problem):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
    seal_archive(path)


@functools.lru_cache(maxsize=64)
def _check_once(path: Path, *state: int) -> None:
    """A command opens the same checkpoint several times; its checksums cost a second a gigabyte."""
    check_archive(path)


def is_sound(path: Path) -> bool:
    """Whether a checkpoint is there and undamaged."""
    try:
        read_checkpoint(path)
    except (OSError, DamagedFile):
        return False
    return True
