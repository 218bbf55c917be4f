"""A run that has lost a process says so, also where it would wait for it for ever."""

import os
from argparse import Namespace

import pytest

from zf_lightning.callbacks import first_failure


class Lost:
    """A process that has ended with a status."""

    def __init__(self, code: int | None) -> None:
        self.code = code
        self.killed = False

    def poll(self) -> int | None:
        return self.code

    def kill(self) -> None:
        self.killed = True


@pytest.mark.parametrize(
    ("code", "words"),
    [(-9, "was killed by signal 9 (exit status -9)"), (3, "ended (exit status 3)")],
)
def test_a_run_that_waits_for_a_lost_process_is_ended(
    code: int, words: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    alive, lost = Lost(None), Lost(code)
    launcher = Namespace(procs=[alive, lost])
    trainer = Namespace(strategy=Namespace(launcher=launcher), world_size=3)
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(first_failure, "REPORTING", 0.0)
    first_failure._end(trainer)  # type: ignore[arg-type]
    assert caplog.messages == [
        f"error: The run ended because process 2 of 3 (the first is 0) {words}."
    ]
    assert ended == [1] and alive.killed
