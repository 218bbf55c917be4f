"""Every loader in the code reads tensors and plain data alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

#: Modules that make objects of any kind out of files.
REFUSED_MODULES = {"pickle": {"UnpicklingError"}, "marshal": set(), "shelve": set(), "dill": set()}
REFUSED_MODULES |= {"cloudpickle": set(), "yaml": set()}
#: Calls that need an argument, and its value.
NEEDED = {"torch.load": ("weights_only", True), "numpy.load": ("allow_pickle", False)}
#: Calls that run code out of a file or of a text, whatever their arguments.
REFUSED = {"eval", "exec", "joblib.load", "torch.jit.load", "torch.hub.load"}


def files() -> list[Path]:
    folders = ("zf_lightning", "callbacks", "benchmarks")
    return [file for name in folders for file in sorted((ROOT / name).rglob("*.py"))]


def faults(source: str) -> Iterator[str]:
    """What a file does that could run code out of another."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in REFUSED_MODULES)
        if isinstance(node, ast.ImportFrom) and node.module in REFUSED_MODULES:
            yield from (name.name for name in node.names)
        if isinstance(node, ast.Attribute):
            module, _, name = ast.unparse(node).rpartition(".")
            if module in REFUSED_MODULES and name not in REFUSED_MODULES[module]:
                yield ast.unparse(node)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).replace("np.", "numpy.")
            given = {one.arg: ast.unparse(one.value) for one in node.keywords}
            argument, value = NEEDED.get(called, ("", None))
            if called in REFUSED or (argument and given.get(argument) != str(value)):
                yield ast.unparse(node)
            elif "load" in called and given.get("weights_only", "True") != "True":
                yield ast.unparse(node)


def allowed(fault: str) -> bool:
    # Of `pickle` only its exception is used: `faults` has looked at each use.
    return fault == "pickle"


def test_nothing_else_is_used() -> None:
    assert len(files()) > 100
    for file in files():
        assert [fault for fault in faults(file.read_text()) if not allowed(fault)] == [], file


def test_faults_are_found() -> None:
    for wrong in (
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "import pickle\npickle.loads(data)",
        "from pickle import load",
        "import yaml",
        "np.load(path, allow_pickle=True)",
        "numpy.load(path)",
        "trainer.test(model, ckpt_path=p)\nModule.load_from_checkpoint(p, weights_only=False)",
        "torch.hub.load('a/b', 'c')",
        "eval(text)",
    ):
        assert [fault for fault in faults(wrong) if not allowed(fault)], wrong
    right = "import pickle\ntry:\n    torch.load(path, weights_only=True)\n"
    right += "except pickle.UnpicklingError:\n    numpy.load(path, allow_pickle=False)\n"
    assert all(map(allowed, faults(right)))
