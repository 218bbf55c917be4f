"""`resume=FOLDER` and `resume=last`: resume an earlier run, or sweep, as it was started.

Hydra chooses the folder before any code of a task runs, and composes from the command line alone.
So the command of each run is kept in its folder, and `resume=` is replaced by it before Hydra reads
the command line.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from zf_lightning.cli.stored_command import check_command, read_command
from zf_lightning.config.targets import trust
from zf_lightning.errors import UserError
from zf_lightning.sweep import override_key, quoted
from zf_lightning.sweep.command import RECORD, RUN_FOLDER, SWEEP_FOLDER, newest_folder

OUTPUTS = Path("outputs")
OPTION = "resume="


def resumed_command(arguments: Sequence[str]) -> list[str]:
    """The arguments of the command line, `resume=` replaced by the earlier run's own.

    What else is given on the command line is added, and wins over the earlier run's.
    Raises UserError if there is nothing to resume.
    """
    asked = [argument for argument in arguments if argument.startswith(OPTION)]
    if not asked or asked[-1] == f"{OPTION}null":
        return [argument for argument in arguments if argument not in asked]
    folder = _find(asked[-1].removeprefix(OPTION))
    earlier = read_command(folder)
    rest = [argument for argument in arguments if argument not in asked]
    overrides = [argument for argument in rest if _is_override(argument)]
    flags = [argument for argument in rest if not _is_override(argument)]
    if not earlier["sweep"] and {"-m", "--multirun"} & set(flags):
        raise UserError(f"{folder} holds a single run, which cannot be resumed as a sweep (-m).")
    if earlier["sweep"] and not {"-m", "--multirun"} & set(flags):
        flags.append("-m")
    changed = {override_key(override) for override in overrides}
    kept = [override for override in earlier["overrides"] if override_key(override) not in changed]
    # Where the configuration is said again, the earlier run's word does not count.
    kept_flags = [] if any(flag.startswith("--config-") for flag in flags) else earlier["flags"]
    for override in overrides:
        if override_key(override) == "trust":
            trust(*re.findall(r"[\w.]+", override.partition("=")[2]))
    check_command(kept_flags, kept, file=folder / RECORD)
    place = SWEEP_FOLDER if earlier["sweep"] else RUN_FOLDER
    return [*kept_flags, *flags, *kept, *overrides, f"{place}={quoted(str(folder))}"]


def _find(value: str) -> Path:
    if value == "last":
        found = list(OUTPUTS.glob(f"*/*/{RECORD}"))
        # Also a run that hydra.run.dir put elsewhere.
        newest = newest_folder()
        found += [] if newest is None else [newest / RECORD]
        if not found:
            raise UserError(
                f"resume=last: no run was started here, nor is there one in {OUTPUTS.resolve()}; "
                "give its folder."
            )
        return max(found, key=lambda path: path.stat().st_mtime_ns).parent.resolve()
    folder = Path(value.strip("'\"")).expanduser()
    if not (folder / RECORD).is_file():
        what = (
            "is not a run's folder: it has no command.json"
            if folder.is_dir()
            else "is not a folder"
        )
        raise UserError(f"resume={value} {what}.")
    return folder.resolve()


def _is_override(argument: str) -> bool:
    return not argument.startswith("-") and ("=" in argument or argument.startswith("~"))
