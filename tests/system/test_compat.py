"""Private names of other libraries are used in `system/compat.py` only, and are there."""

import ast
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torchmetrics import MeanMetric

from tests.conftest import ROOT
from zf_lightning.system import compat

FILES = [
    *(ROOT / "callbacks").rglob("*.py"),
    *(file for file in (ROOT / "zf_lightning").rglob("*.py")),
    *(ROOT / "benchmarks").rglob("*.py"),
    ROOT / "main.py",
]
#: Documented in spite of their names.
PUBLIC = {"_exit", "_replace", "_asdict", "_fields", "_make"}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def own_names(tree: ast.AST) -> Iterator[str]:
    """What a file defines: functions, classes, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        ):
            yield node.attr


def foreign_names(tree: ast.AST, own: set[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in own:
            yield f"line {node.lineno}: {node.attr}"
        elif isinstance(node, ast.ImportFrom | ast.Import):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            parts = [part for alias in node.names for part in f"{module}.{alias.name}".split(".")]
            if any(map(private, parts)) and not module.startswith("zf_lightning"):
                yield f"line {node.lineno}: {'.'.join(parts)}"


def test_no_other_file_uses_private_names() -> None:
    trees = {file: ast.parse(file.read_text()) for file in FILES if "__pycache__" not in str(file)}
    own = {name for tree in trees.values() for name in own_names(tree)}
    found = {
        str(file.relative_to(ROOT)): names
        for file, tree in trees.items()
        if file.name != "compat.py" and (names := list(foreign_names(tree, own)))
    }
    assert found == {}


@pytest.mark.parametrize(
    "line",
    ["x.y._offline", "self._refresh_rate + 3", "from a._meta import b", "import a._b", "x._c = 1"],
)
def test_such_names_are_seen(line: str) -> None:
    own = set(own_names(ast.parse("def f(self): self._own = 1")))
    found = list(foreign_names(ast.parse(line), own))
    assert len(found) == 1
    assert not list(foreign_names(ast.parse("x._own\nself.__class__\nos._exit(1)"), own))


def test_the_names_are_there() -> None:
    from hydra.plugins.sweeper import Sweeper

    assert issubclass(compat.BasicSweeper, Sweeper)
    assert compat.imagenette_names()["n01440764"] == "tench"
    assert not hasattr(compat, "OtherSweeper")


def test_a_compiled_network_and_its_errors() -> None:
    network = nn.Linear(1, 1)
    assert not compat.is_compiled(network)
    network.compile(backend="eager")
    assert compat.is_compiled(network)
    assert not compat.is_compile_error(RuntimeError())
    assert compat.is_compile_error(torch._dynamo.exc.Unsupported("no"))


def test_a_restored_metric_has_been_updated() -> None:
    metric = MeanMetric()
    compat.mark_updated(metric, 3)
    assert metric.update_count == 3
    metric.compute()
