"""Shards in a slow bucket that fails now and then: each image comes once; failing for good."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_image_is_lost_or_doubled(image_folder: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "benchmarks/bucket.py", str(image_folder)),
            *("--images=240", "--chunk-images=4", "--fails=50"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    # That each image came once is asserted by the benchmark.
    assert done.returncode == 0, done.stderr
    assert re.search(r"[1-9]\d* requests for \d+ chunks, of which [1-9]\d* failed", done.stdout)
    assert re.search(
        r"failing for good, .*: s3://\S+/chunk-\S+\.bin cannot be fetched", done.stdout
    )
