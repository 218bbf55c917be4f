"""What was asked for: options that are one value or several, and those that were given."""

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from zf_lightning.errors import UserError, reason_of

log = logging.getLogger(__name__)


def overridden(config: DictConfig) -> list[str]:
    """The overrides of the command line, or of `compose`: with a checkpoint they alone count.

    Raises UserError for a configuration that was composed otherwise and does not know them.
    """
    if "overrides" not in config or OmegaConf.is_missing(config, "overrides"):
        raise UserError(
            "This configuration does not say which options were given: compose it with "
            "zf_lightning.config.compose.compose, or set config.overrides to their list."
        )
    return list(config.overrides)


def run_folder(ckpt: Any) -> Path:
    """The folder of the run that `ckpt`, a folder or a checkpoint in it, belongs to."""
    path = Path(str(ckpt)).expanduser()
    return path if path.is_dir() else path.parent.parent


def option_of_run(folder: Path, key: str) -> Any:
    """An option in the `config.yaml` of a run's folder; None without one, or if it is damaged."""
    path = folder / "config.yaml"
    try:
        return OmegaConf.select(OmegaConf.load(path), key)
    except FileNotFoundError:
        return None
    except Exception as problem:
        # The errors of YAML and of OmegaConf have no class in common.
        log.warning(f"{path} is damaged ({reason_of(problem)}), and not used.")
        return None


def names_of(value: Any, *, option: str) -> list[str]:
    """The names that an option gives: a list, or text with commas.

    Raises UserError if there are none.
    """
    found = [str(part).strip() for part in _parts(value)]
    if not found or not all(found):
        raise UserError(f"{option}={value} must be a name or a list, as {option}=[a,b].")
    return list(dict.fromkeys(found))


def numbers_of(value: Any, *, option: str) -> list[int]:
    """The whole numbers that an option gives: one, a list, or text with commas; ascending.

    Raises UserError if it is something else.
    """
    try:
        found = [int(str(part)) for part in _parts(value)]
    except ValueError:
        found = []
    if not found:
        raise UserError(f"{option}={value} must be a number or a list, as {option}=[15,30].")
    return sorted(set(found))


def _parts(value: Any) -> list[Any]:
    if OmegaConf.is_list(value):
        value = OmegaConf.to_container(value, resolve=True)
    if isinstance(value, list | tuple):
        return list(value)
    return value.split(",") if isinstance(value, str) else [value]
