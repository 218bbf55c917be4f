"""Runs of the command line: as processes, stopped in mid-epoch, and what they leave."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest
import torch

from tests.conftest import ROOT
from tests.networks import Skipping
from zf_lightning.data import Batch
from zf_lightning.sweep import DISTRIBUTED_VARIABLES
from zf_lightning.training.module import ImageClassifier

#: Of what differs between two runs that learn the same.
CLOCKS = ("train/images_per_second", "data/wait")


def command(
    *arguments: str, folder: Path, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run main.py in `folder` by an interpreter of its own."""
    return subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *arguments],
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not DISTRIBUTED_VARIABLES.fullmatch(k)}
    return {"OMP_NUM_THREADS": "1", **kept}


@contextmanager
def started(
    *arguments: str, folder: Path, output: int | IO[str] = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """main.py in `folder`, in a group of processes of its own, which is not outlived."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), *arguments],
        cwd=folder,
        env=_environment(),
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(
    condition: Callable[[], object],
    *,
    running: subprocess.Popen[bytes] | None = None,
    seconds: float = 400,
) -> None:
    """Until it holds; what is `running` must go on meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        assert running is None or running.poll() is None
        time.sleep(0.01)


def run_typed(folder: Path, arguments: Sequence[str]) -> str:
    """Run main.py in `folder`; what it printed. It must end well, and without a trace."""
    done = command(*arguments, folder=folder, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    return done.stdout


class Stopped(Exception):
    """What ends a run in these tests."""


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """End the run in the training step after so many steps of the optimiser."""
    inner = ImageClassifier.training_step

    def stopping(self: ImageClassifier, batch: Batch, batch_index: int) -> torch.Tensor:
        if self.global_step == step:
            raise Stopped
        return inner(self, batch, batch_index)

    monkeypatch.setattr(ImageClassifier, "training_step", stopping)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt")["state_dict"]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            {key: value for key, value in row.items() if key not in (*CLOCKS, "checksum")}
            for row in csv.DictReader(file)
        ]


def own_network(images: Path, folder: Path, *, maps: int = 4) -> list[str]:
    """Overrides for a task on a network of a user's own, with weights, and a folder of images."""
    torch.manual_seed(0)
    torch.save(Skipping(4, maps=maps).state_dict(), folder / "own.pt")
    return [
        "model=custom",
        "model.network._target_=tests.networks.Skipping",
        f"+model.network.maps={maps}",
        f"model.weights={folder / 'own.pt'}",
        "model.input_size=48",
        "model.preprocessing.mean=imagenet",
        "model.preprocessing.scale=imagenet",
        "data=images",
        f"data.root={images}",
    ]
