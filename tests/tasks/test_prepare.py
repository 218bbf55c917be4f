"""Shards from the command line: prepared, trained on, and killed in the middle."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, Compose, check_result
from tests.data.shards.conftest import contents
from zf_lightning.errors import UserError
from zf_lightning.tasks import prepare, train


def test_prepare_then_train(compose_config: Compose, bare: list[str], tmp_path: Path) -> None:
    out = tmp_path / "shards"
    result = prepare.run(
        compose_config(*bare, "task=prepare", f"prepare.out={out}", "prepare.chunk_images=10")
    )
    assert result["class_names"] == ["blue", "green", "red"]
    assert result["counts"] == {"train": [16] * 3, "val": [2] * 3, "test": [2] * 3}
    check_result(tmp_path / "run", result)
    overrides = [o for o in bare if not o.startswith("data=") and not o.startswith("data.root=")]
    config = compose_config(*overrides, "data=shards", f"data.root={out}", "trainer.max_epochs=1")
    trained = train.run(config)
    assert trained["test/images"] == 6
    assert trained["data"] == "shards"


def test_a_folder_must_be_given(compose_config: Compose, bare: list[str]) -> None:
    with pytest.raises(UserError, match=r"prepare\.format=png .* must be jpeg or raw"):
        prepare.run(compose_config("task=prepare", *bare, "prepare.out=x", "prepare.format=png"))


@pytest.mark.slow
def test_a_killed_preparation_goes_on_from_its_chunks(bare: list[str], tmp_path: Path) -> None:
    def command(out: Path) -> list[str]:
        options = [*bare, "task=prepare", f"prepare.out={out}", "prepare.chunk_images=2"]
        options += ["data.workers=2", f"hydra.run.dir={tmp_path / 'run'}"]
        return [sys.executable, str(ROOT / "main.py"), *options]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(whole), cwd=tmp_path, env=environment, check=True)
    records = killed / ".unfinished" / "train"
    process = subprocess.Popen(
        command(killed), cwd=tmp_path, env=environment, start_new_session=True
    )
    while len(list(records.glob("*.json"))) < 5 and process.poll() is None:
        time.sleep(0.001)
    assert process.poll() is None
    # The task's process alone: its workers end by themselves.
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.05)
    done = {path.name: path.stat().st_mtime_ns for path in records.glob("*.json")}
    assert not (killed / "dataset.json").exists()
    subprocess.run(command(killed), cwd=tmp_path, env=environment, check=True)
    assert contents(killed) == contents(whole)
    assert len(done) >= 5
