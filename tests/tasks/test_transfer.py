"""task=transfer, from the command line's configuration to tables."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Compose
from zf_lightning.errors import UserError
from zf_lightning.tasks import train, transfer
from zf_lightning.tasks.transfer import from_scratch, frozen

SMALL = ["transfer.per_class=[3,6]", "transfer.folds=2", "data.workers=0", "transfer.layers=all"]
#: One strength: the cross-validation has tests of its own.
STRENGTHS = {"svm": (10.0,), "softmax": (10.0,)}


@pytest.fixture(autouse=True)
def _one_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    from zf_lightning.analysis.transfer import classifiers

    monkeypatch.setattr(classifiers, "STRENGTHS", STRENGTHS)


@pytest.fixture
def trained(compose_config: Compose, tiny: list[str], tmp_path: Path) -> str:
    """A checkpoint of a network that has seen the small pictures."""
    train.run(compose_config(*tiny, "trainer.max_epochs=1", "callbacks.probe=null", "logger=none"))
    (tmp_path / "run").rename(tmp_path / "trained")
    return f"ckpt={tmp_path / 'trained'}"


def options(tiny: list[str]) -> list[str]:
    kept = ("data", "paths", "logger")
    return ["task=transfer", *SMALL, *(o for o in tiny if o.startswith(kept))]


def test_frozen_layers_are_scored_and_tables_written(
    compose_config: Compose,
    tiny: list[str],
    trained: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = transfer.run(compose_config(*options(tiny), trained))
    folder = tmp_path / "run"
    assert json.loads((folder / "result.json").read_text()) == result
    assert list(result["read_at"]) == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]
    assert result["read_at"]["conv1"] == "conv1_norm"
    assert result["dimensions"]["conv3"] == 3 * 3 * 19
    with (folder / "tables" / "accuracy.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # Seven layers, two classifiers, two numbers of training images.
    assert len(rows) == 28
    assert {row["folds"] for row in rows} == {"2"}
    # Colours are easy.
    assert all(float(row["accuracy"]) > 60 for row in rows if row["images a class"] == "6")
    assert {"accuracy.csv", "accuracy.md", "accuracy.json"} == {
        file.name for file in (folder / "tables").iterdir()
    }
    for name in ("accuracy_by_layer", "accuracy_by_images"):
        with Image.open(folder / "figures" / f"{name}.png") as picture:
            assert picture.width > 400
    folds = json.loads((folder / "folds.json").read_text())
    assert len(folds["files"]) == 60 and list(folds["folds"]) == ["3", "6"]

    # Started again, nothing is computed again.
    with monkeypatch.context() as patch:
        patch.setattr(frozen.FeatureCache, "fill", lambda *_: pytest.fail("read again"))
        patch.setattr(
            "zf_lightning.analysis.transfer.evaluation.fit_and_predict",
            lambda *_a, **_k: pytest.fail("fitted again"),
        )
        assert transfer.run(compose_config(*options(tiny), trained)) == result


def test_an_interrupted_reading_goes_on(
    compose_config: Compose,
    tiny: list[str],
    trained: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zf_lightning.analysis.transfer.features.ROWS_BETWEEN_MARKS", 16)
    few = [*options(tiny), trained, "transfer.layers=conv5", "transfer.classifiers=svm"]
    whole = transfer.run(compose_config(*few, f"paths.cache={tmp_path / 'whole'}"))
    read = frozen.Readings.__call__
    seen: list[int] = []

    def dying(self: frozen.Readings, images):  # type: ignore[no-untyped-def]
        if sum(seen) >= 40:
            raise KeyboardInterrupt
        seen.append(len(images))
        return read(self, images)

    with monkeypatch.context() as patch:
        patch.setattr(frozen.Readings, "__call__", dying)
        with pytest.raises(KeyboardInterrupt):
            transfer.run(compose_config(*few, f"paths.cache={tmp_path / 'part'}"))
    with monkeypatch.context() as patch:
        seen.clear()
        patch.setattr(frozen.Readings, "__call__", dying)
        # From image 32 on, of 60.
        again = transfer.run(compose_config(*few, f"paths.cache={tmp_path / 'part'}"))
    assert sum(seen) == 60 - 32
    assert {k: v for k, v in again.items() if k != "overrides"} == {
        k: v for k, v in whole.items() if k != "overrides"
    }


def test_networks_from_scratch_are_trained_on_each_fold_once(
    compose_config: Compose, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose_config(
        "task=transfer",
        *tiny,
        "transfer.per_class=4",
        "transfer.folds=2",
        "transfer.from_scratch=true",
        "trainer.devices=auto",
    )
    result = transfer.run(config)
    accuracies = [result[f"transfer/from scratch/network/4/fold={n}"] for n in range(2)]
    assert all(0 <= accuracy <= 100 for accuracy in accuracies)
    folds = json.loads((tmp_path / "run" / "folds.json").read_text())["folds"]["4"]
    for number, fold in enumerate(folds):
        own = tmp_path / "run" / "from_scratch" / f"4_fold={number}"
        trained = json.loads((own / "result.json").read_text())
        assert trained["epochs"] == trained["best_epoch"] == 2
        assert trained["test/images"] == len(fold["test"]) == 48
    with monkeypatch.context() as patch:
        patch.setattr(from_scratch.train, "run", lambda *_: pytest.fail("trained again"))
        assert transfer.run(config) == result
    rows = json.loads((tmp_path / "run" / "tables" / "accuracy.json").read_text())["rows"]
    assert rows[0]["layer"] == "from scratch" and rows[0]["folds"] == 2


def test_mistakes_are_one_sentence(compose_config: Compose, tiny: list[str], trained: str) -> None:
    for override, words in (
        ("transfer.per_class=many", "must be a number or a list"),
        ("transfer.per_class=20", "leaves no test image in 3 of 3 classes"),
        ("transfer.layers=conv9", "no layer conv9"),
        ("transfer.classifiers=forest", "forest is not one of svm, softmax"),
        ("transfer.class_weight=heavy", "class_weight=heavy"),
        ("transfer.pooled_size=0", "at least 1"),
        ("transfer.from_scratch=true trainer.devices=2", "one device"),
        ("ckpt=null", "needs a trained network"),
    ):
        with pytest.raises(UserError, match=words):
            transfer.run(compose_config(*options(tiny), trained, *override.split()))
