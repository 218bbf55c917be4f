"""Dependencies point one way, and the heart of the project needs no framework."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

FRAMEWORKS = {"lightning", "hydra", "omegaconf", "wandb"}
#: What each part must not import, besides what is not in the table.
ABOVE = {"report", "inspection", "sweep", "tasks", "cli", "callbacks"}
FORBIDDEN = {
    "system": {"config", "models", "deconv", "atlas", "data", "training", "figures"} | ABOVE,
    "embedded": {"config", "models", "deconv", "atlas", "data", "training", "figures"} | ABOVE,
    "models": {"deconv", "atlas", "analysis", "figures", "data", "training"} | ABOVE,
    "deconv": {"analysis", "figures", "data", "training"} | ABOVE,
    "atlas": {"analysis", "figures", "data", "training"} | ABOVE,
    "analysis": {"figures", "data", "training"} | ABOVE,
    "figures": {"models", "deconv", "atlas", "analysis", "data", "training"} | ABOVE,
    "data": {"deconv", "atlas", "figures", "training"} | ABOVE,
    "training": {"deconv", "atlas", "figures"} | ABOVE - {"sweep"},
    "report": {"data", "training", "tasks", "cli", "callbacks"},
}


def imported(file: Path) -> set[str]:
    """Parts of this project and top-level packages that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{name.name}" for name in node.names]
        for name in names:
            first, *rest = name.split(".")
            found.add(rest[0] if first == "zf_lightning" and rest else first)
    return found


def files(part: str) -> list[Path]:
    path = ROOT / "zf_lightning" / part
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("part", FORBIDDEN)
def test_dependencies_point_one_way(part: str) -> None:
    assert files(part)
    for file in files(part):
        assert not imported(file) & FORBIDDEN[part], file


@pytest.mark.parametrize("part", ["models", "deconv", "analysis", "figures"])
def test_the_heart_needs_no_framework(part: str) -> None:
    for file in files(part):
        assert not imported(file) & FRAMEWORKS, file


@pytest.mark.slow
def test_a_notebook_gets_the_deconvnet_without_lightning_hydra_or_wandb() -> None:
    program = (
        "import sys; from zf_lightning.deconv import Deconvnet; "
        "from zf_lightning.report.notebook import show; "
        f"sys.exit(bool({FRAMEWORKS!r} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
