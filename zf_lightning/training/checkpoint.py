"""Checkpoints: finding and loading them, and the configuration in them."""

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from zf_lightning.config.options import option_of_run
from zf_lightning.config.renamed import with_current_targets
from zf_lightning.config.targets import check_stored
from zf_lightning.errors import DamagedFile, UserError
from zf_lightning.sweep import override_key
from zf_lightning.training.checkpoint_file import read_checkpoint
from zf_lightning.training.module import ImageClassifier

log = logging.getLogger(__name__)

#: Parts of a configuration that define what was learnt, and from what data.
LEARNT = ("model", "ablation", "data", "seed")


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


def load_classifier(path: Path) -> ImageClassifier:
    """The trained network of a checkpoint, with its preprocessing and class names."""
    return ImageClassifier.load_from_checkpoint(path)


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
    description = read_checkpoint(path)["hyper_parameters"].get("description") or {}
    if "config" not in description:
        raise UserError(f"{path} holds no configuration: give it on the command line.")
    try:
        # Unresolved: where things are is to be what it is on this machine.
        written = OmegaConf.to_container(OmegaConf.create(description["config"]), resolve=False)
        written = with_current_targets(written)
        stored = OmegaConf.create({part: written[part] for part in parts})
    except Exception as problem:
        # The errors of YAML and of OmegaConf have no class in common.
        raise DamagedFile.at(path, f"its configuration: {problem}") from problem
    check_stored(written, file=path)
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
    if root is None or Path(root).exists():
        return
    before = option_of_run(path.parent.parent, "data.root")
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
