"""A configuration as loggers show it, by which runs are compared and grouped."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from zf_lightning.config.check import READ_BY

#: Parts of a configuration that say nothing of what was done: places, and what is said elsewhere.
_NOT_SHOWN = ("paths", "probe", "logger", "hydra", "resume", "trust", "sweep")
_OF_TRAINING = dict.fromkeys(("optimizer", "scheduler", "callbacks"), ("train", "transfer"))


def shown_configuration(values: Mapping[str, Any]) -> dict[str, Any]:
    """A plain configuration as loggers show it: what was chosen, by which runs are compared.

    Without classes to make, folders of the machine, and options that the task does not read.
    Ablations are one value, by which runs can be grouped.
    """
    task = values.get("task", {}).get("name")
    kept = {
        key: value
        for key, value in values.items()
        if key not in _NOT_SHOWN and task in {**READ_BY, **_OF_TRAINING}.get(key, (task,))
    }
    return {**_without_places(kept), "ablation": "+".join(values.get("ablation", ())) or "none"}


def _without_places(values: Any) -> Any:
    if isinstance(values, list):
        return [_without_places(value) for value in values if not _is_place(value)]
    if isinstance(values, dict):
        return {
            key: _without_places(value)
            for key, value in values.items()
            if key not in ("_target_", "_partial_", "folder", "dirpath") and not _is_place(value)
        }
    return values


def _is_place(value: Any) -> bool:
    # Also one that an override gives, as data.root=/images.
    parts = value.split("=") if isinstance(value, str) else ()
    return any(PurePath(part).is_absolute() for part in parts)
