"""Names of a sweep's options and of its jobs' folders."""

import hashlib
import os
import re
import warnings
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

SWEPT_VARIABLE = "ZF_LIGHTNING_SWEPT"


def job_folder(overrides: Sequence[str]) -> str:
    """A job's folder, named by its swept overrides, or by all of them if none is known to be swept.

    Without slashes, and short enough for a file system.
    """
    swept = swept_keys()
    chosen = [text for text in overrides if override_key(text) in swept] or list(overrides)
    whole = ",".join(chosen)
    name = re.sub(r"[^\w.,=+@~\-]", "_", whole)
    if len(name) > 150:
        name = f"{name[:140]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
    return name or "unchanged"


def override_key(override: str) -> str:
    """The key of an override: `model.width` of `model.width=0.5`."""
    return override.lstrip("+~").split("=")[0].split("@")[0]


def override_value(override: str) -> str:
    """The value of an override: `0.5` of `model.width=0.5`, nothing of `~callbacks.probe`."""
    return override.partition("=")[2]


def quoted(value: str) -> str:
    """A text quoted as the value of an override, so that Hydra reads it back."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def remember_swept(overrides: Sequence[str], *, also: Sequence[str] = ()) -> None:
    """Keep which options a sweep varies, for the names of its jobs and for its table.

    They are the `overrides` with several values, and `also` those that a list of jobs names.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    swept = [override.key_or_group for override in parsed if override.is_sweep_override()]
    # In the environment, where a launcher's worker processes find it.
    os.environ[SWEPT_VARIABLE] = ",".join(dict.fromkeys([*also, *swept]))


def swept_keys() -> list[str]:
    """Options that the current sweep varies, in the order of its command."""
    return [key for key in os.environ.get(SWEPT_VARIABLE, "").split(",") if key]


# Here and not where the command starts, because a launcher's workers import only this module.
# Hydra validates our launcher files against those of the plugins, and warns that it will stop.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against")
OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
