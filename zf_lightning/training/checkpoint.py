"""Checkpoints: writing, finding and loading them, and the configuration in them."""

import logging
import pickle
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from omegaconf import DictConfig, OmegaConf

from zf_lightning.config.renamed import with_current_targets
from zf_lightning.errors import UserError, reason_of
from zf_lightning.sweep import override_key
from zf_lightning.system.files import write_whole
from zf_lightning.training.module import ImageClassifier

log = logging.getLogger(__name__)

#: Parts of a configuration that define what was learnt, and from what data.
LEARNT = ("model", "ablation", "data", "seed")


class WholeCheckpointFile(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, beside the one that it replaces.

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
            write_whole(path, lambda target: torch.save(checkpoint, target))


def find_checkpoint(ckpt: Any) -> Path:
    """The checkpoint file that `ckpt=` means: a file, or a run's folder (its best).

    Raises UserError if there is none.
    """
    if ckpt is None:
        raise UserError("This task needs a trained network: give ckpt=FILE or ckpt=RUN_FOLDER.")
    if not isinstance(ckpt, str):
        raise UserError(f"ckpt={ckpt} is not one file or folder.")
    path = Path(ckpt).expanduser()
    if path.is_dir():
        for file in (path / "checkpoints" / "best.ckpt", path / "best.ckpt"):
            if file.is_file():
                return file
        raise UserError(f"ckpt={ckpt} is a folder without checkpoints/best.ckpt.")
    if not path.is_file():
        raise UserError(f"ckpt={ckpt} does not exist.")
    return path


def find_checkpoints(ckpt: Any) -> list[Path]:
    """The checkpoint files that `ckpt=` means: one, or a list.

    Raises UserError if one of them is not there.
    """
    several = OmegaConf.is_list(ckpt) or isinstance(ckpt, list | tuple)
    return [find_checkpoint(one) for one in (ckpt if several and len(ckpt) else [ckpt])]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The contents of a checkpoint file, its tensors left on disk until they are used.

    Raises UserError if it is not a checkpoint of this project.
    """
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError) as problem:
        reason = reason_of(problem)
        raise UserError(f"{path} cannot be read as a checkpoint ({reason}).") from problem
    parameters = contents.get("hyper_parameters", {}) if isinstance(contents, dict) else {}
    if not {"model", "class_names"} <= set(parameters):
        raise UserError(f"{path} is not a checkpoint of a network trained here.")
    return contents


def load_classifier(path: Path) -> ImageClassifier:
    """The trained network of a checkpoint, with its preprocessing and class names."""
    read_checkpoint(path)
    return ImageClassifier.load_from_checkpoint(path, map_location="cpu")


def check_same_network(path: Path, *, model: Mapping[str, Any], class_names: Sequence[str]) -> None:
    """Raise UserError if the checkpoint holds another network than `model`, or other classes."""
    parameters = read_checkpoint(path)["hyper_parameters"]
    # Which file the weights started from does not say what they are now.
    stored, asked = ({**one, "weights": None} for one in (parameters["model"], model))
    differences = _differences(stored, asked)
    if differences:
        raise UserError(
            f"{path} holds another network than the one asked for: {'; '.join(differences)}."
        )
    check_same_classes(path, known=parameters["class_names"], found=class_names)


def check_same_classes(path: Path, *, known: Sequence[str], found: Sequence[str]) -> None:
    """Raise UserError if the data has other classes than the checkpoint knows."""
    if list(known) != list(found):
        raise UserError(
            f"{path} knows {len(known)} classes ({', '.join(list(known)[:3])}, …), but the data "
            f"has {len(found)} ({', '.join(list(found)[:3])}, …); choose the data it was trained "
            "on, or train on this one."
        )


def configuration_of(
    path: Path,
    current: DictConfig,
    overrides: Sequence[str],
    *,
    parts: Collection[str] = LEARNT,
) -> DictConfig:
    """The configuration to use a checkpoint with: its own network and data, on this machine.

    `parts` come from the checkpoint, except what `overrides`, the command line, name: `data=…` the
    whole part, `data.root=…` one option. All else, as paths and task, comes from `current`.
    """
    text = read_checkpoint(path)["hyper_parameters"]["description"]["config"]
    # Unresolved: where things are is to be what it is on this machine.
    written = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    stored = OmegaConf.create(with_current_targets(written))
    assert isinstance(stored, DictConfig)
    result = OmegaConf.create(OmegaConf.to_yaml(current))
    assert isinstance(result, DictConfig)
    for part in parts:
        if not any(override_key(override) == part for override in overrides):
            result[part] = stored[part]
    for override in overrides:
        key = override_key(override)
        if "." in key and key.split(".")[0] in parts:
            OmegaConf.update(result, key, OmegaConf.select(current, key), force_add=True)
    if "data" in parts and not {"data", "data.root", "paths.data"} & set(
        map(override_key, overrides)
    ):
        _find_data(result, path)
    return result


def _find_data(result: DictConfig, path: Path) -> None:
    """Take the data from where the run had it, if it is there and not where it is to be now.

    A run that was started in another folder would draw or download its dataset again.
    """
    root = OmegaConf.select(result, "data.root")
    written = path.parent.parent / "config.yaml"
    if root is None or Path(root).exists() or not written.is_file():
        return
    before = OmegaConf.select(OmegaConf.load(written), "data.root")
    if before is not None and Path(before).is_dir():
        log.info(f"The images are those in {before}, as the run had them.")
        OmegaConf.update(result, "data.root", before)


def _differences(stored: Mapping[str, Any], asked: Mapping[str, Any], where: str = "") -> list[str]:
    found = []
    for key in sorted({*stored, *asked}):
        old, new = stored.get(key), asked.get(key)
        name = f"{where}{key}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += _differences(old, new, f"{name}.")
        elif old != new:
            found.append(f"{name} is {_shown(old)} in the file and {_shown(new)} here")
    return found


def _shown(value: Any) -> str:
    return "absent" if value is None else "there" if isinstance(value, Mapping) else str(value)
