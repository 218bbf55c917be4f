"""Commands as processes of their own that need not import everything again.

Each is forked from a server that has imported the tasks, and runs `zf_lightning.cli.main.main` with
arguments, folder and environment of its own, as `python main.py` does; so does each job of a sweep
that Hydra runs one after the other.
"""

import atexit
import multiprocessing
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.core.global_hydra import GlobalHydra

from tests.conftest import ROOT
from zf_lightning.cli import main as command_line
from zf_lightning.sweep import DISTRIBUTED_VARIABLES, jobs

TASKS = "zf_lightning.tasks"
PRELOADED = [
    "tests.commands.forked",
    *(f"{TASKS}.{name}" for name in ("train", "test", "transfer", "atlas", "occlusion")),
    "zf_lightning.report.sweep_page",
    "zf_lightning.callbacks",
    "wandb",
]
LIMIT = 600.0


def run_forked(
    folder: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    code: int = 0,
) -> str:
    """Run a command in `folder`; what it printed. It must end with `code`, and without a trace."""
    process = start_forked(folder, arguments, environment)
    output = folder / "printed.txt"
    process.join(LIMIT)
    if process.is_alive():
        process.kill()
    printed = output.read_text()
    shown = f"python main.py {' '.join(arguments)}\n{printed[-6000:]}"
    assert process.exitcode == code, shown
    assert "Traceback" not in printed, shown
    return printed


def start_forked(
    folder: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    group: bool = False,
) -> multiprocessing.process.BaseProcess:
    """Start a command in `folder`, if asked in a group of its own, for `os.killpg`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    kept = {k: v for k, v in os.environ.items() if not DISTRIBUTED_VARIABLES.fullmatch(k)}
    kept |= {"OMP_NUM_THREADS": "1", **(environment or {})}
    # A child of a server would start its workers by a server as well, and import everything there.
    method = multiprocessing.get_start_method()
    output = folder / "printed.txt"
    given = ([*arguments], folder, kept, method, output, group)
    process = context.Process(target=_start, args=given)
    process.start()
    return process


def _start(
    arguments: list[str],
    folder: Path,
    environment: dict[str, str],
    method: str,
    output: Path | None,
    group: bool = False,
) -> None:
    if group:
        os.setsid()
    multiprocessing.set_start_method(method, force=True)
    if output is not None:
        with output.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        # pytest's are the parent's.
        sys.stdout, sys.stderr = os.fdopen(1, "w", 1, closefd=False), os.fdopen(2, "w", 1)
    # What the server has made it keeps, such as wandb's folder for media.
    atexit._clear()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    sys.argv = [str(ROOT / "main.py"), *arguments]
    jobs._run = _run_job
    code: Any = 0
    try:
        command_line.main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _run_job(command: list[str], environment: dict[str, str], folder: Path, output: object) -> int:
    """What `zf_lightning.sweep.jobs` does by a new interpreter."""
    assert command[1:4] == ["-P", "-m", "zf_lightning"] and output is None
    process = os.fork()
    if process == 0:
        GlobalHydra.instance().clear()
        _start(command[4:], folder, environment, multiprocessing.get_start_method(), None)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
