"""What the README types first, with the default loggers.

Shortened by nothing but the batches of an epoch, the epochs, and the size of the embedded dataset;
in the ordinary suite the paper's network is narrow too.
"""

import csv
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.commands.forked import run_forked
from tests.runs import run_typed
from zf_lightning.embedded import draw_dataset

Run = Callable[[Path, Sequence[str]], str]
COUNTS = {"train": 20, "val": 10, "test": 10}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options that shorten a run to a step, on a dataset that is drawn once."""
    data = tmp_path_factory.mktemp("data")
    draw_dataset(data / "embedded", counts=COUNTS, processes=1, progress=False)
    return [
        f"paths.data={data}",
        "data.images={" + ",".join(f"{split}:{count}" for split, count in COUNTS.items()) + "}",
        "scheduler.epochs=1",
        *(f"trainer.limit_{split}_batches=1" for split in ("train", "val", "test")),
    ]


# An interpreter imports for seconds what a fork has: both run the same `main`.
@pytest.fixture(
    params=[
        pytest.param(run_forked, id="forked"),
        pytest.param(run_typed, id="typed", marks=pytest.mark.slow),
    ]
)
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a command in a folder; gives what it printed. wandb is offline: tests/conftest.py."""
    return request.param


def check(run_folder: Path) -> None:
    """A run has ended: result, page, metrics, and a run of wandb."""
    assert json.loads((run_folder / "result.json").read_text())["test/images"] == 10
    assert (run_folder / "report" / "index.html").exists()
    assert (run_folder / "metrics.csv").exists()
    assert list((run_folder / "wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.timeout(900)
def test_without_options_and_without_an_account_of_wandb(
    run: Run, short: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    printed = run(tmp_path, short)
    assert "ten crops  top-1 error" in printed and "wandb sync" in printed
    (folder,) = (tmp_path / "outputs" / "train").iterdir()
    check(folder)


@pytest.mark.timeout(900)
def test_the_papers_network_on_two_devices(run: Run, short: list[str], tmp_path: Path) -> None:
    narrow = ["model.width=0.1"] if run is run_forked else []
    printed = run(tmp_path, ["model=zfnet", "trainer.devices=2", *short, *narrow])
    assert "ten crops  top-1 error" in printed
    (folder,) = (tmp_path / "outputs" / "train").iterdir()
    check(folder)


@pytest.mark.timeout(900)
def test_the_sweep_of_ablations(run: Run, short: list[str], tmp_path: Path) -> None:
    printed = run(tmp_path, ["-m", "ablation=drop_fc6_fc7,drop_conv34", *short])
    (sweep,) = (tmp_path / "outputs" / "sweep").iterdir()
    for name in ("drop_fc6_fc7", "drop_conv34"):
        assert name in printed
        (job,) = sweep.glob(f"ablation={name}*")
        check(job)
        config = OmegaConf.load(job / "config.yaml")
        assert config.logger.wandb.tags == [f"ablation={name}"]
        assert config.sweep == sweep.name
    with (sweep / "ablation.csv").open(newline="") as file:
        rows = {row["ablation"]: row for row in csv.DictReader(file)}
    assert [row["state"] for row in rows.values()] == ["done", "done"]
    # Table 3, without fc6 and fc7.
    assert rows["drop_fc6_fc7"]["paper/val/top1_error"] == "44.8"
