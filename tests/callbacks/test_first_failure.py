"""What a run on several devices says of the process that failed first."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from zf_lightning.callbacks.first_failure import FirstFailure, first_failure
from zf_lightning.errors import UserError
from zf_lightning.system import processes


def trainer(rank: int, *, size: int = 2, started: tuple[Any, ...] = ()) -> Any:
    """What the callback asks a Trainer."""
    strategy = SimpleNamespace(launcher=SimpleNamespace(procs=started))
    first = rank == 0
    return SimpleNamespace(
        global_rank=rank, world_size=size, is_global_zero=first, strategy=strategy
    )


def fail(callback: FirstFailure, of: Any, message: str) -> None:
    callback.on_exception(of, None, UserError(message))  # type: ignore[arg-type]


def test_the_first_to_fail_is_the_cause(tmp_path: Path) -> None:
    callback = FirstFailure(tmp_path)
    fail(callback, trainer(1), "no image left\nin the worker")
    fail(callback, trainer(0), "connection closed")
    said = "process 1 of 2 (the first is 0) failed with UserError: no image left"
    assert first_failure(trainer(0), tmp_path) == said
    # The process itself has its own error.
    assert first_failure(trainer(1), tmp_path) is None
    callback.setup(trainer(0), None, "fit")  # type: ignore[arg-type]
    assert first_failure(trainer(0), tmp_path) is None


def test_a_process_that_was_killed_is_the_cause(tmp_path: Path) -> None:
    sleeping = [sys.executable, "-c", "import time; time.sleep(100)"]
    with subprocess.Popen(sleeping) as process:
        process.kill()
        fail(FirstFailure(tmp_path), trainer(0, started=(process,)), "connection closed")
    note = json.loads((tmp_path / "failure.json").read_text())
    assert note == {"process": 1, "what": "was killed by signal 9"}


def test_one_process_alone_has_only_its_own_error(tmp_path: Path) -> None:
    fail(FirstFailure(tmp_path), trainer(0, size=1), "no image left")
    assert not any(tmp_path.iterdir())


def test_a_failed_process_lets_the_first_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "REPORTING", 0.1)
    distributed = torch.distributed
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    with pytest.raises(UserError, match="no image left"), processes.first_process_reports():
        raise UserError("no image left")
    # Its connections are closed, so that the first fails too and says why.
    assert not distributed.is_initialized()
