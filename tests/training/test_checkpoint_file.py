"""Checkpoints that are damaged, incomplete, moved, or made by a stranger."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from tests.system.damage import DAMAGES
from zf_lightning.callbacks import BestCheckpoint
from zf_lightning.config import targets
from zf_lightning.errors import DamagedFile, UserError
from zf_lightning.models import read_weights
from zf_lightning.training.checkpoint import configuration_of
from zf_lightning.training.checkpoint_file import (
    WholeCheckpointFile,
    checkpoint_to_resume,
    read_checkpoint,
)
from zf_lightning.training.module import ImageClassifier

NETWORK = "tests.networks.Skipping"
MODEL = {
    "name": "skipping",
    "network": {"_target_": NETWORK},
    "input_size": 32,
    "initialisation": "own",
    "preprocessing": {"mean": "none", "scale": "none"},
}


@pytest.fixture(autouse=True)
def _trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "_trusted", {NETWORK})


def contents(**parameters: Any) -> dict[str, Any]:
    """What a training writes, of a tiny network."""
    data = {"source": {"_target_": "zf_lightning.data.EmbeddedSource", "root": "${paths.data}"}}
    config = OmegaConf.to_yaml(OmegaConf.create({"model": MODEL, "data": data}))
    given = {"model": MODEL, "class_names": ["a", "b"], "description": {"config": config}}
    classifier = ImageClassifier(**given)
    state = {"epoch": 2, "global_step": 7, "loops": {}, "callbacks": {}}
    return {
        **state,
        "optimizer_states": [],
        "lr_schedulers": [],
        "state_dict": classifier.state_dict(),
        "hyper_parameters": given | parameters,
    }


def written(path: Path, content: dict[str, Any]) -> Path:
    WholeCheckpointFile().save_checkpoint(content, path)
    return path


def test_a_sound_checkpoint_is_loaded(tmp_path: Path) -> None:
    content = contents()
    path = written(tmp_path / "last.ckpt", content)
    assert read_checkpoint(path, resumable=True)["epoch"] == 2
    loaded = ImageClassifier.load_from_checkpoint(path, class_names=["c", "d"])
    assert loaded.class_names == ("c", "d")
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, content["state_dict"][name]), name


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_last_checkpoint_falls_back_to_the_newest_sound_one(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    last, best = tmp_path / "last.ckpt", tmp_path / "best.ckpt"
    content = contents()
    written(best, content | {"global_step": 5})
    old = written(tmp_path / "older.ckpt", content | {"global_step": 3})
    os.utime(old, (1, 1))
    assert checkpoint_to_resume(tmp_path) == best
    assert "last.ckpt is missing. Resuming from" in caplog.text
    written(last, content)
    assert checkpoint_to_resume(tmp_path) == last
    DAMAGES[damage](last)
    caplog.clear()
    assert checkpoint_to_resume(tmp_path) == best
    assert "last.ckpt is damaged" in caplog.text and "after 5 steps" in caplog.text
    with pytest.raises(DamagedFile, match=r"last\.ckpt is damaged"):
        ImageClassifier.load_from_checkpoint(last)
    with pytest.raises(DamagedFile, match=r"last\.ckpt is damaged"):
        WholeCheckpointFile().load_checkpoint(last)
    DAMAGES[damage](best)
    assert checkpoint_to_resume(tmp_path) == old
    DAMAGES[damage](old)
    with pytest.raises(DamagedFile, match=r"last\.ckpt is damaged.* No other checkpoint"):
        checkpoint_to_resume(tmp_path)


def test_without_checkpoints_a_training_begins(tmp_path: Path) -> None:
    assert checkpoint_to_resume(tmp_path / "nowhere") is None
    assert checkpoint_to_resume(tmp_path) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("hyper_parameters"),
        lambda content: content["hyper_parameters"].pop("model"),
        lambda content: content["hyper_parameters"].pop("class_names"),
        lambda content: content.pop("state_dict"),
        lambda content: content["state_dict"].pop("network.stem.weight"),
        lambda content: content["state_dict"].update({"network.stem.weight": torch.ones(3)}),
        lambda content: content["state_dict"].update({"network.stem.weight": "text"}),
        lambda content: content.pop("optimizer_states"),
        lambda content: content.pop("epoch"),
        lambda content: content.clear(),
    ],
)
def test_a_checkpoint_with_missing_parts_is_named(
    change: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    content = contents()
    change(content)
    path = written(tmp_path / "last.ckpt", content)
    with pytest.raises(UserError, match=r"last\.ckpt is"):
        read_checkpoint(path, resumable=True)
        ImageClassifier.load_from_checkpoint(path)


@pytest.mark.parametrize(
    "config", ["", "a: [", "model: {}", "[]", "model: {}\ndata: {source: '${oc.decode:x}'}"]
)
def test_a_damaged_configuration_is_named(config: str, tmp_path: Path) -> None:
    path = written(tmp_path / "last.ckpt", contents(description={"config": config}))
    with pytest.raises(UserError, match=r"last\.ckpt"):
        configuration_of(path, OmegaConf.create({}), [], parts=("model", "data"))


def strangers(touch: Path) -> dict[str, dict[str, Any]]:
    """Parameters that would touch a file if what they name were called."""
    call = {
        "_target_": "pathlib.Path.touch",
        "self": {"_target_": "pathlib.Path", "_args_": [str(touch)]},
    }
    code = {"_target_": "builtins.exec", "_args_": [f"open({str(touch)!r}, 'w')"]}
    return {
        "network": {"model": {**MODEL, "network": call}},
        "inside": {"model": {**MODEL, "network": {"_target_": NETWORK, "maps": code}}},
        "list": {"model": {**MODEL, "network": {"_target_": NETWORK, "maps": [{"a": code}]}}},
        "optimizer": {"optimizer": code},
        "reference": {"optimizer": {"_target_": "${hparams.x}", "x": "builtins.exec"}},
        "expression": {"scheduler": {"schedule": "${oc.decode:'{_target_: builtins.exec}'}"}},
        "instantiator": {"_instantiator": "builtins.exec"},
        "deeper than torch.optim": {
            "optimizer": {"_target_": "torch.optim.optimizer.warnings.warn"}
        },
    }


@pytest.mark.parametrize("kind", strangers(Path()))
def test_a_strangers_checkpoint_calls_nothing(kind: str, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    path = written(tmp_path / "last.ckpt", contents(**strangers(touched)[kind]))
    for load in (ImageClassifier.load_from_checkpoint, WholeCheckpointFile().load_checkpoint):
        with pytest.raises(UserError, match=r"last\.ckpt (wants|names|contains)") as refused:
            load(path)
        assert len(str(refused.value).splitlines()) == 1
    assert not touched.exists()


def test_what_is_refused_can_be_trusted_by_its_name(tmp_path: Path) -> None:
    path = written(tmp_path / "last.ckpt", contents())
    targets._trusted.clear()
    with pytest.raises(UserError, match=rf"add trust=\[{NETWORK}\] to the command"):
        ImageClassifier.load_from_checkpoint(path)
    targets.trust(NETWORK)
    ImageClassifier.load_from_checkpoint(path)
    # And by being named in the configuration of this very call.
    targets._trusted.clear()
    targets.trust_targets_in({"model": MODEL})
    ImageClassifier.load_from_checkpoint(path)


def test_the_stored_configuration_of_the_data_calls_nothing(tmp_path: Path) -> None:
    config = "model: {}\ndata: {source: {_target_: builtins.exec, _args_: [x]}}"
    path = written(tmp_path / "last.ckpt", contents(description={"config": config}))
    with pytest.raises(UserError, match=r"wants data\.source\._target_=builtins\.exec"):
        configuration_of(path, OmegaConf.create({}), [], parts=("model", "data"))


class Touch:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_pickle_is_refused_with_a_safe_way(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    torch.save(contents() | {"more": Touch(touched)}, tmp_path / "a.ckpt")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Touch(touched), protocol=2))
    for read, name in ((read_checkpoint, "a.ckpt"), (read_weights, "b.pth")):
        with pytest.raises(UserError, match="reading that could run code") as refused:
            read(tmp_path / name)
        assert "save_file" in str(refused.value) and "weights_only" not in str(refused.value)
    assert not touched.exists()


@pytest.mark.parametrize("epochs", [3, 4])
def test_the_best_checkpoint_of_a_training_that_ended_has_no_optimizer(
    epochs: int, tmp_path: Path
) -> None:
    path = written(tmp_path / "best.ckpt", contents() | {"optimizer_states": [{"state": {}}]})
    before = read_checkpoint(path)
    callback = BestCheckpoint(dirpath=tmp_path, monitor="val/top1_error", filename="best")
    callback.best_k_models = {str(path): torch.tensor(5.0)}
    trainer: Any = SimpleNamespace(
        max_epochs=epochs, max_steps=-1, current_epoch=3, global_step=9, is_global_zero=True
    )
    callback.on_train_end(trainer, None)  # type: ignore[arg-type]
    after = read_checkpoint(path)
    # After three of four epochs it was stopped, and may be resumed.
    assert set(before) - set(after) == ({"optimizer_states"} if epochs == 3 else set())
    for name, value in before["state_dict"].items():
        assert torch.equal(after["state_dict"][name], value), name
    if epochs == 3:
        with pytest.raises(DamagedFile, match="lacks optimizer_states"):
            read_checkpoint(path, resumable=True)


@pytest.mark.parametrize("fate", ["moved", "missing", "damaged"])
def test_a_moved_run_keeps_its_best_score(
    fate: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    new = tmp_path / "new"
    best = written(new / "best.ckpt", contents())
    state = {
        "monitor": "val/top1_error",
        "best_model_score": torch.tensor(5.0),
        "best_model_path": "/old/checkpoints/best.ckpt",
        "current_score": torch.tensor(7.0),
        "dirpath": "/old/checkpoints",
        "best_k_models": {"/old/checkpoints/best.ckpt": torch.tensor(5.0)},
        "kth_best_model_path": "/old/checkpoints/best.ckpt",
        "kth_value": torch.tensor(5.0),
        "last_model_path": "",
    }
    if fate == "missing":
        best.unlink()
    if fate == "damaged":
        best.write_bytes(best.read_bytes()[:-100])
    callback = BestCheckpoint(dirpath=new, monitor="val/top1_error", filename="best")
    assert callback.state_key.startswith("ModelCheckpoint{'monitor': 'val/top1_error'")
    callback.load_state_dict(state)
    # What decides whether an epoch of 90 % replaces it.
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(reduce_boolean_decision=bool))
    replaced = callback.check_monitor_top_k(trainer, torch.tensor(90.0))
    assert replaced == (fate != "moved")
    assert ("best.ckpt is missing or damaged" in caplog.text) == (fate != "moved")
    if fate == "moved":
        assert callback.best_model_path == str(best) and callback.best_model_score == 5.0
