"""What takes more processes and time: `pytest -m slow`."""

import csv
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.runs import command, started, wait_for, weights
from zf_lightning.atlas import Atlas

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_three_processes_learn_and_see_what_one_does(tiny: list[str], tmp_path: Path) -> None:
    # Without dropout, and augmentation is a function of the dataset index: the same training.
    common = [*tiny, "data.batch_size=12", "model.fcs.fc6.dropout=0", "model.fcs.fc7.dropout=0"]
    for name, devices in (("one", 1), ("three", 3)):
        done = command(
            *common, f"trainer.devices={devices}", f"hydra.run.dir={name}", folder=tmp_path
        )
        assert done.returncode == 0, done.stderr
    one, three = weights(tmp_path / "one"), weights(tmp_path / "three")
    for key, value in one.items():
        torch.testing.assert_close(three[key], value, rtol=1e-3, atol=1e-4)
    results = [json.loads((tmp_path / n / "result.json").read_text()) for n in ("one", "three")]
    assert [result["test/images"] for result in results] == [6, 6]
    atlases = [
        Atlas.load(tmp_path / name / "atlas" / "epoch=001.safetensors") for name in ("one", "three")
    ]
    for layer, found in atlases[0].layers.items():
        other = atlases[1].layers[layer]
        torch.testing.assert_close(other.activations, found.activations, rtol=1e-3, atol=1e-4)
        assert not other.mismatches


def test_a_killed_run_started_again_ends_as_if_nothing_had_been(
    tiny: list[str], tmp_path: Path
) -> None:
    common = [*tiny, "trainer.max_epochs=6", "scheduler=constant"]
    whole = command(*common, "hydra.run.dir=whole", folder=tmp_path)
    assert whole.returncode == 0, whole.stderr
    with started(*common, "hydra.run.dir=killed", folder=tmp_path) as killed:
        wait_for((tmp_path / "killed" / "atlas" / "epoch=002.json").exists, running=killed)
    assert not (tmp_path / "killed" / "result.json").exists()
    again = command(*common, "hydra.run.dir=killed", folder=tmp_path)
    assert again.returncode == 0, again.stderr
    expected = weights(tmp_path / "whole")
    for key, value in weights(tmp_path / "killed").items():
        assert torch.equal(value, expected[key]), key
    metrics = [(tmp_path / n / "metrics.csv").read_text().splitlines() for n in ("whole", "killed")]
    assert [row.split(",")[:2] for row in metrics[0]] == [row.split(",")[:2] for row in metrics[1]]


def test_a_test_is_the_same_on_one_two_and_three_processes(
    image_folder: Path, tiny: list[str], tmp_path: Path
) -> None:
    root = tmp_path / "images"
    for split, names in (("train", range(10)), ("val", range(10, 20))):
        for colour in ("red", "green", "blue"):
            (root / split / colour).mkdir(parents=True)
            for name in names:
                file = f"{name:03}.png"
                shutil.copy(image_folder / colour / file, root / split / colour / file)
    (root / "val" / "red" / "013.png").write_text("damaged")
    (root / "train" / "blue" / "003.png").write_text("damaged")
    allowed = ["data.max_bad_files.train=1", "data.max_bad_files.evaluation=1"]
    done = command(
        *tiny,
        *allowed,
        f"data.root={root}",
        "trainer.devices=2",
        "trainer.max_epochs=1",
        "hydra.run.dir=trained",
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    # The mean image is computed once, whatever the number of processes.
    assert len(list((tmp_path / "data" / "cache").glob("*.safetensors"))) == 1
    trained = json.loads((tmp_path / "trained" / "result.json").read_text())
    assert trained["train/bad_files"] == trained["val/bad_files"] == 1
    results = []
    for devices, workers, batch in ((1, 0, 7), (2, 1, 6), (3, 1, 12)):
        done = command(
            "task=test",
            "ckpt=trained",
            *allowed,
            f"data.workers={workers}",
            f"data.batch_size={batch}",
            f"trainer.devices={devices}",
            "logger=none",
            f"hydra.run.dir={devices}",
            folder=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        results.append(json.loads((tmp_path / str(devices) / "result.json").read_text()))
    for result in results:
        assert result["test/images"] == 29 and result["test/bad_files"] == 1
        for name in ("top1_error", "top5_error", "top1_error_tencrop", "top5_error_tencrop"):
            assert result[f"test/{name}"] == results[0][f"test/{name}"]
        assert result["test/loss"] == pytest.approx(results[0]["test/loss"], rel=1e-5)


@pytest.mark.parametrize(("devices", "workers"), [(1, 2), (2, 1)])
def test_a_run_killed_in_mid_epoch_ends_as_if_nothing_had_been(
    devices: int, workers: int, tiny: list[str], tmp_path: Path
) -> None:
    common = [
        *tiny,
        "data.batch_size=4",
        f"data.workers={workers}",
        f"trainer.devices={devices}",
        "trainer.max_epochs=3",
        "trainer.log_every_n_steps=1",
        "callbacks.probe=null",
        "callbacks.last_checkpoint.steps=1",
    ]
    whole = command(*common, "hydra.run.dir=whole", folder=tmp_path)
    assert whole.returncode == 0, whole.stderr
    last = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    # 12 steps an epoch: in the middle of the second.
    with started(*common, "hydra.run.dir=killed", folder=tmp_path) as killed:
        wait_for(
            lambda: last.exists() and 15 <= torch.load(last)["global_step"] <= 20, running=killed
        )
    killed_after = torch.load(last)["global_step"]
    assert killed_after % 12
    again = command(*common, "hydra.run.dir=killed", folder=tmp_path)
    assert again.returncode == 0, again.stderr
    expected = weights(tmp_path / "whole")
    for key, value in weights(tmp_path / "killed").items():
        assert torch.equal(value, expected[key]), key
    kept = ("epoch", "step", "train/loss", "train/top1_error", "val/loss", "val/top1_error")
    metrics = []
    for name in ("whole", "killed"):
        with (tmp_path / name / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        metrics.append({row["step"]: [row[key] for key in kept] for row in rows})
        assert len(metrics[-1]) == len(rows)
    # Lightning logs a step after the callbacks that end it: what is killed between the two has a
    # checkpoint of a step without its row.
    lost = set(metrics[0]) - set(metrics[1])
    assert lost <= {str(killed_after - 1)}
    assert metrics[1] == {step: row for step, row in metrics[0].items() if step not in lost}


def stopped(
    arguments: list[str], folder: Path, until: Path, stop: Callable[[int], object]
) -> tuple[int, str]:
    """Exit status and output of a command that `stop` stops, given its id, when a file is there."""
    with (folder / "said").open("w+") as said:
        with started(*arguments, folder=folder, output=said) as run:
            wait_for(until.exists, running=run)
            stop(run.pid)
            code = run.wait(300)
        said.seek(0)
        return code, said.read()


@pytest.fixture
def long(tiny: list[str]) -> list[str]:
    """A run that does not end by itself."""
    return [*tiny, "trainer.max_epochs=10000", "optimizer.lr=1e-9", "callbacks.probe=null"]


@pytest.mark.parametrize(
    ("kill", "number", "status"),
    [
        (os.kill, signal.SIGTERM, 143),
        (os.kill, signal.SIGINT, 130),
        # With the processes that load the images, as `timeout` does it.
        (os.killpg, signal.SIGTERM, 143),
    ],
)
def test_a_training_that_is_told_to_end(
    kill: Callable[[int, int], object], number: int, status: int, long: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code, said = stopped(
        [*long, "data.workers=2", f"hydra.run.dir={run}"],
        tmp_path,
        run / "checkpoints" / "last.ckpt",
        lambda pid: kill(pid, number),
    )
    assert code == status, said[-3000:]
    assert f"resume with python main.py resume={run}" in said and "Traceback" not in said


def test_a_killed_training_leaves_nothing_in_the_systems_temporary_folder(
    long: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its path is short enough for the workers' sockets.
    system, run = tmp_path.parent / "system", tmp_path / "run"
    system.mkdir()
    monkeypatch.setenv("TMPDIR", str(system))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kept"))

    def kill(pid: int) -> None:
        assert list(system.rglob("*"))
        os.kill(pid, signal.SIGKILL)
        # The workers end a moment later.
        wait_for(lambda: not list(system.rglob("*")), seconds=60)

    last = run / "checkpoints" / "last.ckpt"
    asked = [*long, "logger=wandb", "data.workers=2", f"hydra.run.dir={run}"]
    stopped(asked, tmp_path, last, kill)


def test_an_interrupted_sweep_names_its_own_folder(long: list[str], tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    code, said = stopped(
        ["-m", "ablation=none,drop_fc7", *long, f"hydra.sweep.dir={sweep}"],
        tmp_path,
        sweep / "ablation=none" / "checkpoints" / "last.ckpt",
        lambda pid: os.killpg(pid, signal.SIGINT),
    )
    assert code == 130, said[-3000:]
    assert said.count("resume=") == 1 and said.rstrip().endswith(f"resume={sweep}")


def test_a_process_that_is_killed_is_named(long: list[str], tmp_path: Path) -> None:
    def kill_second(pid: int) -> None:
        table = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True)
        rows = (line.split(None, 2) for line in table.stdout.splitlines())
        (second,) = (int(p) for p, of, said in rows if int(of) == pid and "main.py" in said)
        os.kill(second, signal.SIGKILL)

    run = tmp_path / "run"
    code, said = stopped(
        [*long, "trainer.devices=2", "trainer.accelerator=cpu", f"hydra.run.dir={run}"],
        tmp_path,
        run / "checkpoints" / "last.ckpt",
        kill_second,
    )
    words = "process 1 of 2 (the first is 0) was killed by signal 9 (exit status -9)"
    assert code == 1 and words in said and words in (run / "run.log").read_text()
