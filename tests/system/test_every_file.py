"""Every file that tasks leave stands in docs/trust.md, and what is said there happens to it."""

import re
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ROOT
from tests.system.damage import DAMAGES
from zf_lightning.atlas import Atlas
from zf_lightning.cli import main as command_line
from zf_lightning.cli.resume import resumed_command
from zf_lightning.config.compose import compose
from zf_lightning.errors import UserError
from zf_lightning.results import metric_names as names
from zf_lightning.results.metrics_file import read_rows
from zf_lightning.sweep import Job, command_of, record_command
from zf_lightning.system.sealed import read_json
from zf_lightning.tasks import atlas, prepare, train, transfer
from zf_lightning.training.checkpoint import load_classifier
from zf_lightning.training.checkpoint_file import checkpoint_to_resume

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def left(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a training, an atlas, a transfer, a job of a sweep and prepared shards."""
    root = tmp_path_factory.mktemp("left")
    # As in each test: sums of other numbers of threads round differently.
    torch.set_num_threads(1)
    command_line.prepare()
    tiny = [
        *("data=folder", f"data.root={image_folder}", "data.batch_size=8", "data.workers=0"),
        *(f"paths.data={root / 'data'}", f"paths.cache={root / 'cache'}"),
    ]
    small = ["model.width=0.05", "model.input_size=70", "logger=csv", "trainer.max_epochs=1"]
    run = root / "train"
    record_command(run, command_of(flags=(), overrides=(*tiny, *small), sweep=False))
    Job(run, tuple(small), "start", 0, exit_code=0).write()
    train.run(compose(*tiny, *small, folder=run))
    of_run = [f"ckpt={run}", *tiny[2:]]
    atlas.run(compose("task=atlas", *of_run, "atlas.layers=conv1", folder=root / "atlas"))
    asked = ["task=transfer", f"ckpt={run}", *tiny, "transfer.per_class=3", "transfer.folds=1"]
    transfer.run(compose(*asked, "transfer.layers=conv5", folder=root / "transfer"))
    shards = f"prepare.out={root / 'shards'}"
    prepare.run(compose("task=prepare", *tiny, shards, folder=root / "prepare"))
    return root


def documented() -> list[str]:
    """Patterns of the files in the first column of the table."""
    table = (ROOT / "docs" / "trust.md").read_text().split("## Damaged files")[1]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ")]
    names = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    return [re.sub(r"…|LAYER", "*", name) for name in names]


def test_every_file_stands_in_the_table(left: Path) -> None:
    patterns = documented()
    # Locks, and marks that a chunk was checked.
    patterns += ["*.lock", "lock", "*.checked", "tables/", "left_out.txt", "*.csv", "*.md"]
    for path in left.rglob("*"):
        name = path.relative_to(left).as_posix()
        found = any(
            fnmatch(f"/{name}", f"*/{pattern}*" if pattern.endswith("/") else f"*/{pattern}")
            for pattern in patterns
        )
        assert found or path.is_dir(), name


def reads(read: Callable[[Path], Any]) -> Callable[[Path], str]:
    """Whether a file is read, or a UserError names it."""

    def outcome(run: Path) -> str:
        try:
            return "read" if read(run) is not None else "absent"
        except UserError as problem:
            assert len(str(problem).splitlines()) == 1
            return "named"
        except FileNotFoundError:
            return "absent"

    return outcome


#: What is done with a file, and what comes of it if it is damaged, and if it is missing.
READERS: dict[str, tuple[Callable[[Path], str], str, str]] = {
    # The training has ended: the best is not one to resume from.
    "checkpoints/last.ckpt": (
        reads(lambda run: checkpoint_to_resume(run / "checkpoints")),
        *("named", "named"),
    ),
    "checkpoints/best.ckpt": (
        reads(lambda run: load_classifier(run / "checkpoints" / "best.ckpt")),
        *("named", "absent"),
    ),
    "command.json": (reads(lambda run: resumed_command([f"resume={run}"])), "named", "named"),
    "metrics.csv": (reads(lambda run: read_rows(run / "metrics.csv")), "read", "read"),
    "result.json": (reads(lambda run: Job(run, (), "", 0).result), "absent", "absent"),
    "job.json": (reads(Job.read), "absent", "absent"),
    "provenance.json": (reads(lambda run: read_json(run / "provenance.json")), "named", "absent"),
    "atlas/epoch=001.safetensors": (
        reads(lambda run: Atlas.load(run / "atlas" / "epoch=001.safetensors")),
        *("named", "absent"),
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_each_damage_has_the_outcome_of_the_table(name: str, left: Path, tmp_path: Path) -> None:
    outcome, damaged, missing = READERS[name]
    whole = (left / "train" / name).read_bytes()
    # Moved: the folder is another one than that of the run.
    run = tmp_path / "moved"
    for other in [name, "checkpoints/best.ckpt"]:
        (run / other).parent.mkdir(parents=True, exist_ok=True)
        (run / other).write_bytes((left / "train" / other).read_bytes())
    assert outcome(run) == "read"
    for damage in DAMAGES.values():
        damage(run / name)
        assert outcome(run) == damaged
        (run / name).write_bytes(whole)
    (run / name).unlink()
    assert outcome(run) == missing


def test_provenance_repeats_the_run(left: Path, tmp_path: Path) -> None:
    """The same command and seed: the same numbers, to the bit."""
    stored = read_json(left / "train" / "provenance.json")
    python, main, *overrides = stored["command"].split()
    assert (python, main) == ("python", "main.py")
    train.run(compose(*overrides, folder=tmp_path / "again"))
    again = read_json(tmp_path / "again" / "provenance.json")
    assert again["data"] == stored["data"] and again["packages"] == stored["packages"]
    assert again["threads"] == stored["threads"] == 1
    clocks = {names.SECONDS, names.IMAGES_PER_SECOND, names.DATA_WAIT}
    results = [read_json(run / "result.json") for run in (left / "train", tmp_path / "again")]
    first, second = ({k: v for k, v in one.items() if k not in clocks} for one in results)
    assert first == second
