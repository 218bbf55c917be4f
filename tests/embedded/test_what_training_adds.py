"""On the embedded dataset the masks are known: what projections of a trained network lie on."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.runs import command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

DIFFERENCE = re.compile(r"trained - untrained: ([\w ]+?) +(\S+) \[(\S+), (\S+)\]")


def test_projections_of_a_trained_network_exceed_an_untrained_ones(tmp_path: Path) -> None:
    trained = command(
        # All of the first command's training: after a fifth of it nothing shows yet.
        "callbacks.probe=null",
        "logger=none",
        f"paths.data={tmp_path}",
        f"hydra.run.dir={tmp_path / 'run'}",
        folder=tmp_path,
        timeout=3000,
    )
    assert trained.returncode == 0, trained.stderr
    scored = subprocess.run(
        [
            *(sys.executable, "benchmarks/embedded_analyses.py", "--only", "projections"),
            *("--root", tmp_path / "embedded", "--ckpt", tmp_path / "run"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert scored.returncode == 0, scored.stderr
    found = {name: float(low) for name, _, low, _ in DIFFERENCE.findall(scored.stdout)}
    # The lower ends of 95 % intervals, of the same images.
    assert found["deconvnet"] > 0 and found["gradient"] > 0, scored.stdout
