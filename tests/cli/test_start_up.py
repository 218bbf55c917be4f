"""Help, mistakes and the parent of a sweep need neither PyTorch nor Lightning."""

import os
import subprocess
import sys
from pathlib import Path

import lightning
import pytest

from tests.conftest import ROOT
from zf_lightning.config.schema import trainer_arguments

HEAVY = ("torch", "lightning", "torchvision", "wandb")
PROGRAM = f"""
import sys
from zf_lightning.cli.main import main
from zf_lightning.sweep import jobs
# Of a sweep, the parent alone.
jobs._run = lambda *_: 1
try:
    main()
finally:
    print("imported:", *(name for name in {HEAVY} if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--help"], "task=NAME"),
        (["trainer.max_epoch=3"], "error: There is no option trainer.max_epoch"),
        (["modle=zfnet"], "error: There is no option modle; did you mean model?"),
        (["ablation=drop_fc9"], "error: There is no ablation=drop_fc9"),
        (["data=folder"], "error: data.root must be given: add data.root=… to the command."),
        (["-m", "data.workers=0", "seed=0,1", "hydra.sweep.dir=sweep"], "2 of 2 jobs failed"),
        (["-m", "data=folder", "seed=0,1"], "error: data.root must be given"),
        (["-m", "model.width=1,-1"], "error: model.width=-1.0 is not possible"),
    ],
    ids=[
        "help",
        "option",
        "misspelt group",
        "choice",
        "data.root",
        "sweep",
        "sweep without data.root",
        "width",
    ],
)
def test_nothing_heavy_is_imported(arguments: list[str], said: str, tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said in shown.stdout + shown.stderr
    assert "Traceback" not in shown.stderr
    assert shown.stdout.strip().splitlines()[-1] == "imported:", shown.stdout


def test_the_trainers_arguments_are_those_of_lightning() -> None:
    import inspect

    known = list(inspect.signature(lightning.Trainer.__init__).parameters)
    assert trainer_arguments() == known[1:]


def test_help_whose_reader_has_enough() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, str(ROOT / "main.py"), "--help"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
