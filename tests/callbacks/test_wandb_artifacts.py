"""Artifacts of a finished training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wandb
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from tests.training.test_loggers import records
from zf_lightning.analysis import map_scores
from zf_lightning.callbacks import WandbArtifacts
from zf_lightning.tasks import train
from zf_lightning.training.loggers import MetricsFile, wandb_logger
from zf_lightning.training.wandb_runs import close_wandb


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """What a training of two epochs leaves."""
    for name in ("atlas/epoch=001", "atlas/epoch=002"):
        for suffix in (".safetensors", ".json"):
            path = tmp_path / (name + suffix)
            path.parent.mkdir(exist_ok=True)
            path.write_text(name)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").write_text("weights")
    return tmp_path


def test_the_last_atlas_and_the_best_checkpoint_are_taken(run_folder: Path) -> None:
    def names(**options: bool) -> dict[str, list[str]]:
        files = WandbArtifacts(str(run_folder), **options).files()
        return {kind: [path.name for path in paths] for kind, paths in files.items()}

    last = ["epoch=002.safetensors", "epoch=002.json"]
    assert names(atlas=True, checkpoint=True) == {"atlas": last, "checkpoint": ["best.ckpt"]}
    assert names(atlas=False, checkpoint=True) == {"checkpoint": ["best.ckpt"]}
    assert names(atlas=False, checkpoint=False) == {}
    (run_folder / "checkpoints" / "best.ckpt").unlink()
    assert names(atlas=True, checkpoint=True) == {"atlas": last}


def trainer_with(logger: Logger) -> Trainer:
    return Trainer(
        accelerator="cpu", logger=logger, enable_checkpointing=False, enable_progress_bar=False
    )


def test_what_wandb_does_not_take_is_a_warning(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logger = wandb_logger(
        folder=run_folder, project="p", entity=None, group=None, name=None, tags=[], mode="disabled"
    )

    def refuse(*_: object, **__: object) -> None:
        raise wandb.Error("storage quota exceeded")

    monkeypatch.setattr(logger.experiment, "log_artifact", refuse)
    callback = WandbArtifacts(str(run_folder), atlas=True, checkpoint=False)
    callback.on_fit_end(trainer_with(logger), None)  # type: ignore[arg-type]
    close_wandb()
    assert "did not take the atlas: storage quota exceeded" in caplog.text


def test_without_wandb_nothing_is_read(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    callback = WandbArtifacts(str(run_folder), atlas=True, checkpoint=True)
    monkeypatch.setattr(callback, "files", lambda: pytest.fail("looked for files"))
    trainer = trainer_with(MetricsFile(run_folder / "metrics.csv"))
    callback.on_fit_end(trainer, None)  # type: ignore[arg-type]
    assert wandb.run is None


def test_an_offline_run_keeps_rows_pictures_and_artifacts_for_the_upload(
    compose_config: Callable[..., DictConfig],
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for variable in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ARTIFACT_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(map_scores, "REFERENCES", 1)
    monkeypatch.setattr(map_scores, "TRIALS", 1)
    scores = ("probe.scores=[alike,quiz]", "probe.score_every_n_epochs=1")
    result = train.run(compose_config(*tiny, "logger=wandb", *scores))
    # Another machine has it elsewhere.
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    (record,) = moved.rglob("offline-run-*/run-*.wandb")
    rows: dict[str, list[Any]] = records(moved)
    tables = [one for one in rows["artifact"] if one["name"].endswith("confusion_table")]
    assert len(tables) == 1
    artifacts = {
        one["name"].partition("-")[0]: one for one in rows["artifact"] if one not in tables
    }
    files = {
        kind: [file["path"] for file in one["manifest"]["contents"]]
        for kind, one in artifacts.items()
    }
    # Found from the run's folder, wherever that lies.
    for one in rows["artifact"]:
        for file in one["manifest"]["contents"]:
            assert (moved / file["local_path"]).is_file() and file["local_path"][0] != "/"
            # The disk holds each picture once.
            staged = moved / file["local_path"]
            assert staged.stat().st_nlink > 1 or not file["path"].endswith(".webp")
    shown = str(rows["config"])
    assert "batch_size" in shown and str(tmp_path) not in shown and "_target_" not in shown
    # The table of feature maps and its pictures.
    assert sum(file.endswith(".webp") for file in files.pop("run")) == 5 + 4 * 9
    assert files == {
        "atlas": ["epoch=002.json", "epoch=002.safetensors"],
        "checkpoint": ["best.ckpt"],
    }
    assert sorted(artifacts["atlas"]["aliases"]) == ["epoch-002", "latest"]
    assert sorted(artifacts["checkpoint"]["aliases"]) == ["best", "latest"]
    # One row of pictures an epoch, at the validation's step.
    history = [one["item"] for one in rows["history"]]
    pictures = [row for row in history if "probe/conv1.path" in row]
    validations = [row for row in history if "val/top1_error" in row]
    assert [row["epoch"] for row in pictures] == [row["epoch"] for row in validations] == [1, 2]
    assert [row["epoch"] for row in history if "test/top1_error" in row] == [2]
    metrics = {one["name"]: one for one in rows["metric"] if "name" in one}
    for name in ("probe/conv1", "val/top1_error", "test/top1_error_tencrop"):
        assert metrics[name]["step_metric"] == "epoch"
    assert metrics["val/top1_error"]["summary"] == {"min": True}
    assert metrics["val/images"]["options"]["hidden"]
    step = "trainer/global_step"
    assert [row[step] for row in pictures] == [row[step] for row in validations]
    for layer in ("conv1", "conv5"):
        assert pictures[1][f"probe/{layer}.caption"].startswith(f"{layer}, epoch 2, validation")
        assert (record.parent / "files" / pictures[1][f"probe/{layer}.path"]).exists()
    assert {f"dead_maps/conv{number}" for number in range(1, 6)} <= pictures[1].keys()
    # Curves of interpretability, by layer, and the scores of each map.
    for name in ("scores/alike/conv1", "scores/patches/conv1", "scores/projections/conv1"):
        assert all(0 <= row[name] <= 1 for row in pictures)
        assert metrics[name]["step_metric"] == "epoch"
    assert metrics["dead_maps/conv1"]["step_metric"] == "epoch"
    (stored,) = (record.parent / "files" / "media" / "table").glob("confusion_table_*.table.json")
    confusion = json.loads(stored.read_text())
    assert confusion["columns"] == ["Actual", "Predicted", "nPredictions"]
    assert sum(count for *_, count in confusion["data"]) == result["test/images"]
    wrong = [row for row in confusion["data"] if row[0] != row[1] and row[2]]
    assert len(result["confused"]) == len(wrong)
    (stored,) = (record.parent / "files" / "media" / "table").glob("feature_maps_*.table.json")
    table = json.loads(stored.read_text())
    assert table["columns"][:4] == ["layer", "feature map", "strongest activation", "classes"]
    assert {layer for layer, *_ in table["data"]} == {f"conv{number}" for number in range(1, 6)}
    number, strongest, classes = table["data"][0][1:4]
    assert number == 0 and strongest > 0
    # Of its nine images.
    assert 1 <= sum(int(part.split()[-1]) for part in classes.split(", ")) <= 9
    assert table["columns"][-2:] == ["settled at epoch", "picture"]
    assert {"alike", "patches", "projections"} < {*table["columns"]}
    summary: dict[str, Any] = {}
    for one in rows["summary"]:
        summary |= one["update"]
    for name in ("val/top1_error", "test/top1_error_tencrop", "best_epoch", "parameters"):
        assert summary[name] == pytest.approx(result[name])
