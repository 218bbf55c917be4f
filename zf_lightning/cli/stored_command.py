"""`command.json` of a folder that may come from a stranger: read, and checked before Hydra runs it.

Hydra calls what an override names, and reads the configuration files that one leads it to.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, QuotedString
from hydra.errors import HydraException

from zf_lightning.config import CONF
from zf_lightning.config.renamed import with_current_options
from zf_lightning.config.targets import check_expressions, check_stored
from zf_lightning.errors import DamagedFile, UserError
from zf_lightning.sweep.command import RECORD
from zf_lightning.system.sealed import read_json

#: What a file may ask of Hydra itself, whose other options run commands or call what they name.
OF_HYDRA = re.compile(
    r"hydra/(launcher|sweeper)=\w+|hydra\.launcher\.\w+=\d+|hydra\.sweeper\.(jobs|params)=.*"
    r"|hydra\.sweeper\.max_batch_size=\d+|hydra\.sweep\.subdir=[^/]*",
    re.DOTALL,
)
#: Choices of a group: names of files of the package, and no path to another.
NAMES = re.compile(r"[\w\s,\[\]'\"()*-]*")


def read_command(folder: Path) -> dict[str, Any]:
    """The command of the run or sweep in `folder`: `flags`, `overrides`, and whether a `sweep`.

    Raises UserError, naming the file, if it is damaged.
    """
    path = folder / RECORD
    again = f"Type the command again, with hydra.run.dir={folder} (a sweep: hydra.sweep.dir)."
    try:
        command = read_json(path)
    except DamagedFile as damage:
        raise UserError(f"{damage} {again}") from None
    sound = isinstance(command.get("sweep"), bool) and all(
        isinstance(command.get(part), list) and all(isinstance(text, str) for text in command[part])
        for part in ("flags", "overrides")
    )
    if not sound:
        raise UserError(f"{path} is not what a run writes. {again}")
    return {**command, "overrides": with_current_options(command["overrides"])}


def check_command(flags: Sequence[str], overrides: Sequence[str], *, file: Path) -> None:
    """Raise UserError for what could run code that neither the project nor the user names.

    Args:
        flags, overrides: of the file, without those that the command line of today replaces.
    """
    flag = next((flag for flag in flags if flag.startswith("-") and flag != "--config-name"), None)
    if flag is not None or not all(re.fullmatch(r"[\w-]+", flag) for flag in flags):
        raise UserError(
            f"{file} leads to configuration files of its own ({' '.join(flags)}), which can name "
            "any code: if you trust them, give the same on the command line."
        )
    for text in overrides:
        _check_override(text, file)


def _check_override(text: str, file: Path) -> None:
    check_expressions(text, file=file)
    try:
        (override,) = OverridesParser.create().parse_overrides([text])
    except HydraException as problem:
        reason = str(problem).splitlines()[0]
        raise UserError(f"{file}: {text} is not an override ({reason}).") from None
    key, value = override.key_or_group, text.partition("=")[2]
    of_hydra = key.startswith("hydra") and not OF_HYDRA.fullmatch(text.lstrip("+"))
    of_group = (CONF / key).is_dir() and not NAMES.fullmatch(value)
    if of_hydra or of_group or override.package is not None:
        raise UserError(
            f"{file} contains {text}, which could run or read anything: if you trust the file, "
            "give it on the command line too."
        )
    given = override.value()
    for choice in given.list if isinstance(given, ChoiceSweep) else [given]:
        node = _plain(choice)
        if key.startswith("hydra.sweeper."):
            # Overrides again, of each job.
            for job in node if isinstance(node, list) else [node]:
                for inner in job.items() if isinstance(job, dict) else ():
                    _check_override("{}={}".format(*inner), file)
        last = key.rpartition(".")[2]
        check_stored({last: node}, file=file, where=key.rpartition(".")[0])


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.text if isinstance(value, QuotedString) else value
