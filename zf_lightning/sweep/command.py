"""`command.json`: how a run or a sweep was started, for `resume=`."""

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zf_lightning.sweep.names import override_key
from zf_lightning.system.files import write_whole
from zf_lightning.system.sealed import write_json

RECORD = "command.json"
#: Where the results of a run and of a sweep go: `resume` decides that.
RUN_FOLDER, SWEEP_FOLDER = "hydra.run.dir", "hydra.sweep.dir"
#: Whom a user trusts is not for a file to say: `resume=` asks again.
NOT_KEPT = (RUN_FOLDER, SWEEP_FOLDER, "hydra.mode", "trust")
COMMAND_VARIABLE = "ZF_LIGHTNING_SWEEP_COMMAND"


def command_of(*, flags: Sequence[str], overrides: Sequence[str], sweep: bool) -> dict[str, Any]:
    """A command as plain data."""
    kept = [override for override in overrides if override_key(override) not in NOT_KEPT]
    return {"sweep": sweep, "flags": list(flags), "overrides": kept}


def record_command(folder: Path, command: dict[str, Any]) -> None:
    """Keep the command of a run or a sweep in its folder."""
    write_json(folder / RECORD, command)
    # A job is resumed with its sweep.
    if "sweep" not in map(override_key, command["overrides"]):
        remember_folder(folder)


def remember_folder(folder: Path) -> None:
    """Note where the newest run or sweep that was started here is, for `resume=last`.

    For the user, not beside the runs: they may be anywhere. A place that cannot be written to
    costs no run.
    """
    with contextlib.suppress(OSError):
        write_whole(_newest(), str(folder.absolute()) + "\n")


def newest_folder() -> Path | None:
    """The folder of the newest run or sweep that was started here, if it is still there."""
    with contextlib.suppress(OSError):
        folder = Path(_newest().read_text().strip())
        return folder if (folder / RECORD).is_file() else None
    return None


def _newest() -> Path:
    state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    here = hashlib.sha256(os.fsencode(Path.cwd())).hexdigest()[:16]
    return state / "zf-lightning" / "newest" / here


def remember_sweep_command(command: dict[str, Any]) -> None:
    """Hand the command of a sweep to its jobs: the first that starts owns the sweep's folder."""
    os.environ[COMMAND_VARIABLE] = json.dumps(command)


def record_sweep_command(folder: Path) -> None:
    """Keep what `remember_sweep_command` was given; a sweep that was refused leaves nothing."""
    record_command(folder, json.loads(os.environ[COMMAND_VARIABLE]))
