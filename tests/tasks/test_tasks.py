"""The dict of tasks, which the command line reads before it imports any."""

import pkgutil
import subprocess
import sys

from tests.conftest import ROOT
from zf_lightning import tasks


def test_names_every_task() -> None:
    modules = {module.name for module in pkgutil.iter_modules(tasks.__path__)}
    files = {file.stem for file in (ROOT / "conf" / "task").glob("*.yaml")}
    assert set(tasks.TASKS) == modules == files
    assert tasks.TASKS["atlas"].module == "zf_lightning.tasks.atlas"
    assert all(task.description for task in tasks.TASKS.values())


def test_is_read_without_torch() -> None:
    program = "import sys; from zf_lightning.tasks import TASKS; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
