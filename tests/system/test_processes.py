"""Processes that follow their parent, and folders that one run claims."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.conftest import ROOT
from zf_lightning.errors import UserError
from zf_lightning.system import processes
from zf_lightning.system.processes import claimed

FOLLOWING = "from zf_lightning.system.processes import follow_parent; follow_parent(); "


@contextmanager
def run(program: str) -> Iterator[IO[str]]:
    """What a process prints; it is killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if k != processes.PARENT_VARIABLE},
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.kill()


def test_a_process_ends_with_the_one_that_started_it() -> None:
    child = FOLLOWING + "import time; print('here', flush=True); time.sleep(100)"
    program = (
        FOLLOWING + "import subprocess, sys, time; "
        f"c = subprocess.Popen([sys.executable, '-c', {child!r}]); "
        "print(c.pid, flush=True); time.sleep(100)"
    )
    with run(program) as printed:
        lines = [printed.readline().strip() for _ in range(2)]
    pid = int(next(line for line in lines if line != "here"))
    deadline = time.monotonic() + 20
    while processes._alive(pid):
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.05)


def test_a_process_that_was_started_through_another_stays() -> None:
    # Its parent is a shell, whose parent is this process.
    program = FOLLOWING + "import time; time.sleep(2); print('still here')"
    done = subprocess.run(
        ["sh", "-c", f'{sys.executable} -c "{program}"; true'],
        cwd=ROOT,
        env=os.environ | {processes.PARENT_VARIABLE: str(os.getpid())},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "still here"


def test_a_folder_has_one_run_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PATIENCE", 0.2)
    program = (
        "from pathlib import Path; from zf_lightning.system.processes import claimed; import time\n"
        f"with claimed(Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(100)"
    )
    with run(program) as printed:
        assert printed.readline().strip() == "held"
        with pytest.raises(UserError, match="Another run is at work"), claimed(tmp_path):
            pytest.fail("two runs in one folder")
    with claimed(tmp_path):
        pass
    with claimed(tmp_path):
        pass


BLOBS = """
import os, time
from torch.utils.data import DataLoader
from zf_lightning.system.processes import follow_loader

class Blobs:
    def __len__(self):
        return 1000

    def __getitem__(self, index):
        return os.getpid(), bytes(10**6)

loader = DataLoader(Blobs(), batch_size=None, num_workers=2, worker_init_fn=follow_loader)
batches = iter(loader)
workers = {next(batches)[0] for _ in range(4)}
print(*workers, flush=True)
time.sleep(100)
"""


@pytest.mark.slow
def test_workers_that_have_more_to_hand_over_than_a_pipe_holds_end_with_their_reader() -> None:
    with run(BLOBS) as printed:
        workers = [int(pid) for pid in printed.readline().split()]
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(map(processes._alive, workers)):
        assert time.monotonic() < deadline, "a worker lives on"
        time.sleep(0.05)
