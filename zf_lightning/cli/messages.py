"""A user's mistakes as one sentence each."""

import contextlib
import errno
import logging
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from zf_lightning.config import schema
from zf_lightning.config.instantiate import suggestion
from zf_lightning.config.task_options import TASK_OPTIONS
from zf_lightning.errors import UserError, reason_of
from zf_lightning.system.log_lines import escaped

NO_LAUNCHER = (
    "This launcher needs an extra package: hydra-joblib-launcher or hydra-submitit-launcher. In "
    "the checkout pip install -e '.[cli,launchers]' installs both."
)
#: What a disk that is full or read-only, a folder that is gone, or one of another user is called.
FULL = (errno.ENOSPC, errno.EDQUOT)
PLACES = (*FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.EISDIR, errno.ENOTDIR)


@contextlib.contextmanager
def clear_messages() -> Iterator[None]:
    """Turn a user's mistake into one sentence and exit status 1; anything else keeps its trace."""
    try:
        yield
    except UserError as mistake:
        _fail(mistake.sentence)
    except (HydraException, OmegaConfBaseException) as mistake:
        if "Missing mandatory value" in str(mistake):
            _fail(missing_message(str(mistake)))
        _fail(composition_message(mistake))
    except (ImportError, RuntimeError) as mistake:
        if not re.search("IS THE PLUGIN INSTALLED|Unknown plugin class", str(mistake)):
            _write_to_log_file("failed", with_trace=True)
            raise
        _fail(NO_LAUNCHER)
    except OSError as problem:
        full = problem.errno in FULL
        if problem.errno not in PLACES or (problem.filename is None and not full):
            _write_to_log_file("failed", with_trace=True)
            raise
        # The log may lie in the same place.
        logging.raiseExceptions = False
        place = problem.filename or "A file"
        _fail(f"{place} cannot be written or read: {problem.strerror}{_free(problem)}.")
    except KeyboardInterrupt:
        sys.exit(130)
    except SystemExit as end:
        # Lightning's own end after Ctrl-C.
        if end.code == 1 and isinstance(end.__context__, KeyboardInterrupt):
            sys.exit(130)
        raise
    except (ValueError, TypeError, AssertionError) as mistake:
        if HydraConfig.initialized():
            _write_to_log_file("failed", with_trace=True)
            raise
        # Hydra's own code has met something that it does not expect, before any of a task runs.
        _fail(f"This command cannot be understood: {' '.join(str(mistake).split())}")
    except Exception:
        _write_to_log_file("failed", with_trace=True)
        raise


def composition_message(mistake: Exception) -> str:
    """One sentence for a configuration that cannot be composed."""
    text = f"{mistake} {mistake.__cause__ or ''}"
    unknown = re.search(r"Key '([^']+)' (?:is )?not in '?([\w]+)", text)
    if unknown:
        full = re.search(r"full_key: ([\w.]+)", text)
        key = full.group(1) if full else unknown.group(1)
        where, _, name = key.rpartition(".")
        if where in TASK_OPTIONS and "object_type=TaskOptions" in text:
            return f"{key} is an option of task={where}: add task={where}, or leave it out."
        return f"There is no option {key}{suggestion(name, schema.options_of(where)) or '.'}"
    missing = re.search(r"Could not find '([^']+)'", text)
    if missing and "/" in missing.group(1):
        group, _, option = missing.group(1).rpartition("/")
        choices = re.findall(r"^\t(\w+)$", text, re.MULTILINE)
        return (
            f"There is no {group}={option}{suggestion(option, choices) or '.'} "
            f"The choices are {', '.join(choices)}."
        )
    override = re.search(r"Could not override '([^']+)'", text)
    if override and "No match in the defaults list" in text:
        return f"There is no group {override.group(1)} of options to choose from."
    if mistake.__cause__ is not None:
        # "Error merging override data.batch_size=abc", and why.
        return " ".join(f"{mistake}: {reason_of(mistake.__cause__)}".split())
    return " ".join(str(mistake).split())


def missing_message(text: str) -> str:
    """One sentence for an option that must be given: its name, or the text of an exception."""
    found = re.search(r"Missing mandatory value: ([\w.]+)", text)
    key = found.group(1) if found else text
    return f"{key} must be given: add {key}=… to the command."


def _free(problem: OSError) -> str:
    """How much is free where a disk is full."""
    if problem.errno not in FULL or problem.filename is None:
        return ""
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(Path(problem.filename).parent).free
        return f" ({free / 1e6:,.0f} MB are free there)"
    return ""


def _fail(sentence: str) -> NoReturn:
    print(f"error: {escaped(sentence)}", file=sys.stderr)
    _write_to_log_file(f"error: {sentence}")
    sys.exit(1)


def _write_to_log_file(message: str, *, with_trace: bool = False) -> None:
    """Into `run.log` alone: on the terminal it stands already."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            trace = sys.exc_info() if with_trace else None
            record = logging.LogRecord(__name__, logging.ERROR, __file__, 0, message, None, trace)
            handler.handle(record)
