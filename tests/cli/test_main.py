"""The commands as a user types them, each in processes of its own."""

import errno
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Compose
from zf_lightning.cli.messages import clear_messages
from zf_lightning.sweep import DISTRIBUTED_VARIABLES
from zf_lightning.tasks import test as test_task


def command(
    *arguments: str, folder: Path, timeout: float = 280
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not DISTRIBUTED_VARIABLES.fullmatch(k)}
    return subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_two_processes_count_each_image_once(
    tiny: list[str], tmp_path: Path, compose_config: Compose
) -> None:
    # 54 training, 6 validation and 6 test images: no batch of 4 divides them evenly.
    done = command(
        "model=zfnet",
        *tiny,
        "data.batch_size=4",
        "trainer.devices=2",
        "trainer.max_epochs=1",
        "hydra.run.dir=two",
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "images/s" in done.stdout and "left=" in done.stdout
    assert "ten crops  top-1 error" in done.stdout
    folder = tmp_path / "two"
    assert {file.name for file in tmp_path.iterdir()} <= {"two", "run", "data"}
    result = json.loads((folder / "result.json").read_text())
    assert result["val/images"] == result["test/images"] == 6
    alone = test_task.run(
        compose_config("task=test", f"ckpt={folder}", "data.workers=0", "logger=none")
    )
    for name in ("images", "top1_error", "top5_error", "top1_error_tencrop"):
        assert alone[f"test/{name}"] == result[f"test/{name}"]
    assert alone["test/loss"] == pytest.approx(result["test/loss"], rel=1e-5)


def test_a_sweep_goes_on_after_a_failed_job_and_reports_it(tiny: list[str], tmp_path: Path) -> None:
    quick = [option for option in tiny if not option.startswith("model.input_size")]
    done = command(
        "-m",
        "model.input_size=20,70",
        *quick,
        "trainer.limit_train_batches=1",
        "hydra.sweep.dir=sweep",
        folder=tmp_path,
    )
    assert done.returncode == 1
    assert "has nothing left to see: the input of 20 pixels is too small" in done.stderr
    assert "Traceback" not in done.stderr
    assert "1 of 2 jobs failed" in done.stdout
    assert "FAILED (exit 1)" in (tmp_path / "sweep" / "sweep.csv").read_text()
    jobs = sorted(path for path in (tmp_path / "sweep").glob("model.*"))
    assert [job.name for job in jobs] == ["model.input_size=20", "model.input_size=70"]
    assert "has nothing left to see" in (jobs[0] / "run.log").read_text()
    assert [(job / "result.json").exists() for job in jobs] == [False, True]


def test_a_mistake_is_one_sentence(tmp_path: Path) -> None:
    done = command("ablation=drop_fc9", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: There is no ablation=drop_fc9; did you mean drop_fc7?")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.ENOENT])
def test_a_place_that_cannot_be_written_is_one_sentence(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", True)
    place = str(tmp_path / "file")
    with pytest.raises(SystemExit), clear_messages():
        raise OSError(number, os.strerror(number), place)
    said = capsys.readouterr().err
    assert said.startswith(f"error: {place} cannot be written or read: {os.strerror(number)}")
    assert said.count("\n") == 1 and ("MB are free" in said) == (number == errno.ENOSPC)
