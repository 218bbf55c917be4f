"""task=transfer, from the command line's configuration to tables."""

import copy
import csv
import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from PIL import Image

from tests.conftest import Compose, check_result
from zf_lightning.errors import UserError
from zf_lightning.tasks import transfer
from zf_lightning.tasks.transfer import from_scratch, frozen

SMALL = ["transfer.per_class=[3,6]", "transfer.folds=2", "data.workers=0", "transfer.layers=all"]
#: One strength: the cross-validation has tests of its own.
STRENGTHS = {"svm": (10.0,), "softmax": (10.0,)}


@pytest.fixture(autouse=True)
def _one_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    from zf_lightning.analysis.transfer import classifiers

    monkeypatch.setattr(classifiers, "STRENGTHS", STRENGTHS)


@pytest.fixture
def trained(trained_run: Path) -> str:
    """A checkpoint of a network that has seen the small pictures."""
    return f"ckpt={trained_run}"


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
    check_result(folder, result)
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
        patch.setattr(frozen.FeatureCache, "filling", lambda *_: pytest.fail("read again"))
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
        with pytest.raises(SystemExit):
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
    compose_config: Compose, bare: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose_config(
        "task=transfer",
        *bare,
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
        own = tmp_path / "run" / "from_scratch" / f"4_fold_{number}"
        trained = json.loads((own / "result.json").read_text())
        assert trained["epochs"] == trained["best_epoch"] == 2
        assert trained["test/images"] == len(fold["test"]) == 48
    with monkeypatch.context() as patch:
        patch.setattr(from_scratch.train, "run", lambda *_: pytest.fail("trained again"))
        assert transfer.run(config) == result
    rows = json.loads((tmp_path / "run" / "tables" / "accuracy.json").read_text())["rows"]
    assert rows[0]["layer"] == "from scratch" and rows[0]["folds"] == 2


def scratch(bare: list[str], *more: str) -> list[str]:
    """Overrides for one short training from scratch."""
    short = ["transfer.per_class=4", "transfer.folds=1", "trainer.max_epochs=1", "logger=none"]
    return ["task=transfer", *bare, *short, "transfer.from_scratch=true", *more]


@pytest.mark.slow
def test_a_fold_that_was_trained_with_other_options_is_refused(
    compose_config: Compose, bare: list[str], tmp_path: Path
) -> None:
    config = compose_config(*scratch(bare))
    transfer.run(config)
    for option, value, part in (
        ("optimizer.lr", 0.5, "optimizer"),
        ("data.batch_size", 7, "batch_size"),
        ("data.seed", 7, "data_seed"),
        ("trainer.max_epochs", 3, "trainer"),
        ("trainer.limit_val_batches", 1, "trainer"),
        ("trainer.check_val_every_n_epoch", 2, "trainer"),
        ("trainer.strategy", "ddp", "trainer"),
        ("trainer.sync_batchnorm", True, "trainer"),
        ("data.exclude", ["red"], "images"),
    ):
        changed = copy.deepcopy(config)
        OmegaConf.update(changed, option, value)
        with pytest.raises(UserError, match=f"trained with other options.*{part}.*hydra.run.dir"):
            transfer.run(changed)
    # What cannot change the result may change.
    done = tmp_path / "run" / "from_scratch/4_fold_0/transfer.json"
    kept = json.loads(done.read_text())
    harmless = ("callbacks.last_checkpoint=null", "trainer.log_every_n_steps=1")
    again = transfer.run(compose_config(*scratch(bare, *harmless)))
    assert again["transfer/from scratch/network/4/fold=0"] == kept["score"]["accuracy"]
    # Version 0.1.0 noted less.
    del kept["asked"]["data_seed"], kept["checksum"]
    kept["asked"]["trainer"] = {"max_epochs": 1}
    done.write_text(json.dumps(kept))
    assert transfer.run(compose_config(*scratch(bare, "data.seed=7")))
    with pytest.raises(UserError, match="trained with other options"):
        transfer.run(compose_config(*scratch(bare, "trainer.max_epochs=3")))


def test_a_training_that_ends_early_is_scored_by_its_last_weights(
    compose_config: Compose, bare: list[str], tmp_path: Path
) -> None:
    early = ["trainer.max_epochs=5", "trainer.max_steps=1", "callbacks.last_checkpoint=null"]
    result = transfer.run(compose_config(*scratch(bare, *early, "callbacks.best_checkpoint=null")))
    assert 0 <= result["transfer/from scratch/network/4/fold=0"] <= 100
    fold = tmp_path / "run" / "from_scratch" / "4_fold_0"
    assert json.loads((fold / "result.json").read_text())["epochs"] == 1
    assert [path.name for path in (fold / "checkpoints").iterdir()] == ["best.ckpt"]


@pytest.mark.slow
def test_a_network_from_a_folds_checkpoint_leaves_that_fold_alone(
    compose_config: Compose, bare: list[str], tmp_path: Path
) -> None:
    transfer.run(compose_config(*scratch(bare)))
    old = tmp_path / "old"
    (tmp_path / "run").rename(old)
    before = {path: path.stat().st_mtime_ns for path in old.rglob("*") if path.is_file()}
    folder = old / "from_scratch" / "4_fold_0"
    transfer.run(compose_config(*scratch(bare, f"ckpt={folder}", "transfer.layers=fc7")))
    assert before == {path: path.stat().st_mtime_ns for path in old.rglob("*") if path.is_file()}
    assert (tmp_path / "run" / "from_scratch" / "4_fold_0" / "checkpoints" / "best.ckpt").exists()


def test_an_experiment_says_how_the_network_beside_a_checkpoint_is_trained(
    compose_config: Compose, tiny: list[str], trained: str, tmp_path: Path
) -> None:
    config = compose_config(
        *("experiment=caltech_from_scratch", *options(tiny)[1:]),
        *(trained, "model.width=0.05", "trainer.devices=[1]"),
    )
    found = from_scratch.fold_configuration(config, tmp_path / "folds.json", "15", 0, tmp_path)
    assert found["scheduler"]["epochs"] == 800 and found["model"]["name"] == "zfnet"
    assert found["callbacks"]["filter_renormalisation"]["rms_limit"] == 0.1
    assert found["callbacks"]["artifacts"] is None
    assert found["trainer"]["devices"] == [1]
    without = compose_config(*options(tiny), trained)
    found = from_scratch.fold_configuration(without, tmp_path / "folds.json", "15", 0, tmp_path)
    assert found["model"]["name"] == "zfnet_small" and found["trainer"]["devices"] == 1
    assert found["callbacks"]["last_checkpoint"]["folder"] == f"{tmp_path}/checkpoints"


def test_scores_of_another_split_are_not_taken_for_this_ones(
    compose_config: Compose, tiny: list[str], trained: str, tmp_path: Path
) -> None:
    own = [*options(tiny), trained, "transfer.per_class=split", "transfer.layers=fc7"]

    def tested(share: float) -> set[int]:
        transfer.run(compose_config(*own, f"data.test_share={share}"))
        found: set[int] = set()
        for line in (tmp_path / "run" / "scores.jsonl").read_text().splitlines():
            score = json.loads(line)
            # A line without a score begins those of another experiment.
            found = found | {score["test_images"]} if "test_images" in score else set()
        return found

    assert tested(0.1) == {6}
    assert tested(0.3) == {18}


def test_mistakes_are_one_sentence(compose_config: Compose, tiny: list[str], trained: str) -> None:
    for override, words in (
        ("transfer.per_class=many", "must be a number or a list"),
        ("transfer.per_class=20", "leaves no test image in 3 of 3 classes"),
        ("transfer.layers=conv9", "no layer conv9"),
        ("transfer.classifiers=forest", "must be softmax, svm or a list"),
        ("transfer.class_weight=heavy", "class_weight=heavy"),
        ("transfer.pooled_size=0", "a whole number from 1"),
        ("transfer.from_scratch=true trainer.devices=2", "one device"),
        ("ckpt=null", "needs a trained network"),
    ):
        with pytest.raises(UserError, match=words):
            transfer.run(compose_config(*options(tiny), trained, *override.split()))
