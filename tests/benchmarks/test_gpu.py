"""The measurements for a GPU run through, small and on a processor; what they find is not asked."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = ["--width=0.05", "--input-size=70", "--batch-size=4", "--repetitions=1", "--no-compile"]
#: For each command options that make it small, and words that it ends by printing.
COMMANDS = {
    "training": (["--batches=2"], ["rate of ours / bare loop", "times the floor"]),
    "inference": (["--batches=2"], ["rate of ours / bare loop", "times the floor"]),
    "input": (
        ["--batches=2", "--distinct=10", "--chunk-images=8"],
        ["rate from raw shards / from memory", "rate from folder of JPEGs"],
    ),
    "probe": (
        ["--batches=2", "--images=10", "--maps=1", "--project-batch=8"],
        ["time watched / not watched", "Captum / ours"],
    ),
    "ten_crops": (["--batches=1"], ["rate of ten crops / one crop"]),
    "precision": (["--images=12"], ["bfloat16", "the probe's values are float32"]),
    "two_processes": (
        ["--epochs=1", "--images=64", "--batch-size=32", "--width=0.2", "--input-size=140"],
        ["val/images: 101 by one process, 101 by two", "test/images: 103"],
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_runs_through(command: str) -> None:
    options, words = COMMANDS[command]
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", command, "--device=cpu", *SMALL, *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(part in done.stdout for part in words), done.stdout
