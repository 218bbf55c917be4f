"""What the static checks of CI find, shown with faults that we have had."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

#: Of zf_lightning/sweep/jobs.py at a3ac5a5: the sweep as the README types it ended in a NameError.
HIDDEN_FUNCTION = """
from zf_lightning.sweep.names import quoted

def wandb_tags(tags: list[str]) -> list[str]:
    quoted = ",".join(quoted(tag[:64]) for tag in tags)
    return [f"logger.wandb.tags=[{quoted}]"]
"""


def test_a_local_name_that_hides_a_function_is_found(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in ("zf_lightning", "callbacks", "benchmarks", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "main.py").touch()
    (tmp_path / "zf_lightning" / "jobs.py").write_text(HIDDEN_FUNCTION)
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert 'jobs.py:5:23 - error: "quoted" is unbound (reportUnboundVariable)' in done.stdout
