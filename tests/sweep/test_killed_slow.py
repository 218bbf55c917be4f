"""A sweep whose processes are killed, and that is started again: `pytest -m slow`."""

import csv
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest

from tests.runs import command, started, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc"),
]
FIRST, SECOND = "ablation=none", "ablation=drop_fc7"


@pytest.fixture
def sweep(tiny: list[str]) -> list[str]:
    """A sweep of two jobs of six epochs."""
    swept = ["-m", "ablation=none,drop_fc7", *tiny, "scheduler=constant", "probe.maps=1"]
    return [*swept, "trainer.max_epochs=6"]


def processes(*words: str) -> list[int]:
    """Of all processes whose command has all the words, but not this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if all(any(word in argument for argument in arguments) for word in words):
                found.append(int(entry.name))
    return found


def table(folder: Path) -> list[dict[str, str]]:
    """The figures of a sweep's table, without the time that it took."""
    with (folder / "ablation.csv").open(newline="") as file:
        return [
            {key: value for key, value in row.items() if not key.startswith("train/seconds")}
            for row in csv.DictReader(file)
        ]


def in_the_middle(folder: Path, job: str) -> Callable[[], bool]:
    return lambda: (folder / job / "atlas" / "epoch=002.json").exists()


def test_a_killed_sweep_started_again_ends_with_the_same_table(
    sweep: list[str], tmp_path: Path
) -> None:
    whole = command(*sweep, "hydra.sweep.dir=whole", folder=tmp_path, timeout=800)
    assert whole.returncode == 0, whole.stderr
    expected = table(tmp_path / "whole")
    assert [row["state"] for row in expected] == ["done", "done"]
    folder = tmp_path / "killed"
    again = [*sweep, "hydra.sweep.dir=killed"]

    # The sweep, in its first job: the job dies with it.
    with started(*again, folder=tmp_path) as parent:
        wait_for(in_the_middle(folder, FIRST))
        parent.kill()
        parent.wait()
        wait_for(lambda: not processes(str(tmp_path), "main.py"), seconds=60)
    assert not (folder / "ablation.csv").exists()

    # The second job: the first, resumed, comes to its end, and the failure is reported.
    with started(*again, folder=tmp_path) as parent:
        wait_for(in_the_middle(folder, SECOND))
        first_result = (folder / FIRST / "result.json").stat().st_mtime_ns
        (job,) = processes(f"hydra.run.dir='{folder / SECOND}'")
        os.kill(job, signal.SIGKILL)
        assert parent.wait(timeout=300) == 1
    assert [row["state"] for row in table(folder)] == ["done", "FAILED (exit -9)"]

    # Both the sweep and the job, at any moment.
    with started(*again, folder=tmp_path):
        time.sleep(8)

    last = command(*again, folder=tmp_path, timeout=800)
    assert last.returncode == 0, last.stderr
    assert f"{FIRST}: done before" in last.stdout
    assert (folder / FIRST / "result.json").stat().st_mtime_ns == first_result
    assert table(folder) == expected


def test_a_killed_process_of_a_distributed_job_ends_the_job(
    sweep: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    two = [*sweep, "trainer.devices=2", "hydra.sweep.dir=sweep"]
    with started(*two, folder=tmp_path) as parent:
        wait_for(in_the_middle(folder, FIRST))
        (second_process,) = processes("train_ddp_process_1", str(folder / FIRST))
        os.kill(second_process, signal.SIGKILL)
        wait_for(lambda: not processes(f"{folder / FIRST}"), seconds=60)
        assert parent.wait(timeout=600) == 1
    states = [row["state"] for row in table(folder)]
    assert states[0].startswith("FAILED") and states[1] == "done"
    done = command(*two, folder=tmp_path, timeout=800)
    assert done.returncode == 0, done.stderr
    assert [row["state"] for row in table(folder)] == ["done", "done"]
    # No process left a folder or a file of its own beside those of the jobs.
    assert {path.name for path in tmp_path.iterdir()} <= {"sweep", "data", "run"}
    known = {f"ablation.{suffix}" for suffix in ("csv", "md", "json", "png")}
    known |= {"report", "multirun.yaml"}
    known |= {"command.json", FIRST, SECOND}
    assert {path.name for path in folder.iterdir()} == known


def test_the_first_process_of_a_distributed_run_takes_the_others_with_it(
    tiny: list[str], tmp_path: Path
) -> None:
    run = [*tiny, "trainer.devices=2", "trainer.max_epochs=50", "hydra.run.dir=run_of_two"]
    with started(*run, "callbacks.probe=null", folder=tmp_path) as first:
        wait_for((tmp_path / "run_of_two" / "checkpoints" / "last.ckpt").exists)
        assert processes("train_ddp_process_1", str(tmp_path))
        first.kill()
        first.wait()
        wait_for(lambda: not processes(str(tmp_path), "main.py"), seconds=20)


class Failing(lightning.Callback):
    """Raises in the second process."""

    def on_train_batch_end(self, trainer: lightning.Trainer, *arguments: Any) -> None:
        if trainer.global_rank == 1:
            raise RuntimeError("this process has had enough")


def test_the_error_of_the_process_that_failed_first_ends_the_run(
    tiny: list[str], tmp_path: Path
) -> None:
    failing = f"+callbacks.failing._target_={__name__}.Failing"
    done = command(
        *tiny,
        "trainer.devices=2",
        failing,
        "hydra.run.dir=run_of_two",
        folder=tmp_path,
        timeout=800,
    )
    assert done.returncode == 1
    sentence = "The run ended because process 1 of 2 (the first is 0) failed with RuntimeError: "
    assert f"{sentence}this process has had enough" in done.stderr
    log = (tmp_path / "run_of_two" / "run.log").read_text()
    assert "Process 1 failed:\n    Traceback" in log and sentence in log
    assert not (tmp_path / "run_of_two" / "result.json").exists()
