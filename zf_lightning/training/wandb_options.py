"""How a run of Weights & Biases is started, with all of its files in the run's folder.

wandb is imported where it is used: a sweep is started without it.
"""

import importlib
import os
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zf_lightning.errors import UserError
from zf_lightning.system.files import write_whole
from zf_lightning.system.processes import is_first_process

#: Environment variables of the folders that wandb stages files in, as set here for the last run.
_STAGING: dict[str, str] = {}


def run_options(
    *,
    folder: str | Path,
    project: str,
    entity: str | None,
    group: str | None,
    name: str | None,
    tags: Sequence[str],
    mode: str,
    job_type: str | None = None,
    notes: str | None = None,
    finish_timeout: float = 0,
) -> dict[str, Any]:
    """Options of `wandb.init` for a run whose every file stays in `folder`.

    `mode` is `online`, `offline`, `disabled` or `auto`: online where there is an API key, offline
    otherwise. The environment variable WANDB_MODE comes before `mode`. A run that is resumed in
    the same folder is the same run of wandb. At its end it waits for `finish_timeout` seconds at
    most for what is not uploaded yet (0: for all of it); the rest stays in `folder`.
    Raises UserError for another mode.
    """
    modes = ("auto", "online", "offline", "disabled")
    mode = os.environ.get("WANDB_MODE", mode)
    if mode == "dryrun":
        mode = "offline"
    # Before wandb is first asked anything: it reads its settings once.
    os.environ.setdefault("WANDB_SILENT", "true")
    if mode not in modes:
        raise UserError(f"logger.wandb.mode={mode} is not known: it is one of {', '.join(modes)}.")
    folder = Path(folder)
    # Media and artifacts are otherwise staged in the user's home: a run's folder could not be
    # moved and synchronised elsewhere.
    for variable in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ARTIFACT_DIR"):
        # Not the user's own choice, but that of an earlier run of this process.
        if os.environ.get(variable) in (None, _STAGING.get(variable)):
            os.environ[variable] = _STAGING[variable] = str(folder / "wandb")
    _import_wandb(folder / "wandb")
    if mode == "auto":
        mode = "online" if has_api_key() else "offline"
    return {
        "dir": str(folder),
        "project": project,
        "entity": entity,
        "group": group,
        "name": name or folder.name,
        "tags": list(tags),
        "job_type": job_type,
        "notes": notes,
        "id": _run_id(folder),
        "resume": "allow",
        "mode": mode,
        "settings": _settings(finish_timeout),
    }


def _import_wandb(folder: Path) -> None:
    """Import wandb with `folder` for its temporary folders: it makes them then.

    A killed run would leave them in the system's.
    """
    if "wandb" in sys.modules:
        return
    folder.mkdir(parents=True, exist_ok=True)
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        importlib.import_module("wandb")
    finally:
        tempfile.tempdir = before


def _settings(finish_timeout: float) -> Any:
    import wandb

    return wandb.Settings(finish_timeout=finish_timeout, finish_timeout_raises=True)


def has_api_key() -> bool:
    """Whether wandb has a key for its server; nobody is asked for one."""
    import wandb

    return wandb.login(prompt=False, verify=False)


def _run_id(folder: Path) -> str | None:
    if not is_first_process():
        return None
    file = folder / "wandb" / "run_id"
    if file.exists():
        return file.read_text().strip()
    write_whole(file, uuid.uuid4().hex[:8])
    return file.read_text()
