"""The commands as a user types them, each in processes of its own."""

import errno
import json
import logging
import os
from pathlib import Path

import pytest

from tests.commands.forked import run_forked
from tests.conftest import Compose
from tests.runs import command
from zf_lightning.cli.messages import clear_messages
from zf_lightning.tasks import test as test_task


@pytest.mark.slow
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


# The ordinary suite has a sweep: tests/commands/test_as_typed.py.
@pytest.mark.slow
def test_a_sweep_goes_on_after_a_failed_job_and_reports_it(tiny: list[str], tmp_path: Path) -> None:
    quick = [option for option in tiny if not option.startswith("model.input_size")]
    sizes = ["-m", "model.input_size=20,70", "hydra.sweep.dir=sweep"]
    printed = run_forked(tmp_path, [*sizes, *quick, "trainer.limit_train_batches=1"], code=1)
    assert "has nothing left to see: the input of 20 pixels is too small" in printed
    assert "1 of 2 jobs failed" in printed
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


def test_a_disk_that_is_full_is_one_sentence_also_where_python_names_no_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", True)
    with pytest.raises(SystemExit), clear_messages():
        raise OSError(errno.ENOSPC, "No space left on device")
    said = "error: A file cannot be written or read: No space left on device.\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.ENOENT, errno.EISDIR])
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
