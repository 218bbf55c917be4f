"""Training, testing and going on, in this process."""

import csv
import shutil
import time
from pathlib import Path

import lightning
import pytest
import torch

from tests.conftest import Compose, check_result
from tests.runs import weights
from zf_lightning.data.sources.base import SampleKey
from zf_lightning.errors import UserError
from zf_lightning.results.per_image import read_per_image
from zf_lightning.tasks import test as test_task
from zf_lightning.tasks import train
from zf_lightning.training import build as assembly
from zf_lightning.training import checkpoint
from zf_lightning.training.module import ImageClassifier


def steps(folder: Path) -> list[int]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def rates(folder: Path) -> tuple[int, list[float]]:
    last = torch.load(folder / "checkpoints" / "last.ckpt")
    return last["epoch"], last["lr_schedulers"][0]["_last_lr"]


def test_a_run_leaves_its_results_and_its_checkpoint_gives_them_again(
    compose_config: Compose, tiny: list[str], tmp_path: Path
) -> None:
    began = time.monotonic()
    result = train.run(compose_config(*tiny, "seed=3"))
    assert 0 < result["train/seconds"] < time.monotonic() - began
    folder = tmp_path / "run"
    check_result(folder, result)
    assert result["test/images"] == result["test/images_in_split"] == 6
    assert result["val/images"] == 6
    assert result["epochs"] == 2
    assert result["train/images_centre_crop"] == 48
    assert result["paper"]["val/top1_error"] == 38.4
    for split in ("val", "test"):
        scored, wrong = read_per_image(folder, split) or ([], [])
        assert sum(scored) == 6
        assert result[f"{split}/top1_error_tencrop"] == pytest.approx(100 * sum(wrong) / 6)
    assert {"config.yaml", "metrics.csv"} <= {file.name for file in folder.iterdir()}
    assert {"best.ckpt", "last.ckpt"} == {f.name for f in (folder / "checkpoints").iterdir()}

    (tmp_path / "saved").mkdir()
    (folder / "checkpoints" / "best.ckpt").rename(tmp_path / "saved" / "best.ckpt")
    config = compose_config(
        "task=test", f"ckpt={tmp_path / 'saved'}", "data.workers=0", "logger=none"
    )
    again = test_task.run(config)
    for name in ("top1_error", "top5_error", "top1_error_tencrop", "loss_tencrop"):
        assert again[f"test/{name}"] == pytest.approx(result[f"test/{name}"], rel=1e-5)


@pytest.mark.parametrize("scheduler", ["plateau", pytest.param("constant", marks=pytest.mark.slow)])
def test_a_run_that_goes_on_ends_like_one_that_was_not_interrupted(
    scheduler: str, compose_config: Compose, bare: list[str], tmp_path: Path
) -> None:
    steady = [f"scheduler={scheduler}", "model.fcs.fc6.dropout=0.5"]
    if scheduler == "plateau":
        # Every epoch that is not better counts, so that a lost one would show.
        steady += ["scheduler.schedule.patience=0", "optimizer.lr=1.0e-12"]
    whole = compose_config(*bare, *steady, "trainer.max_epochs=3")
    train.run(whole)
    expected, expected_steps = weights(tmp_path / "run"), steps(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "whole")

    interrupted = train.run(compose_config(*bare, *steady, "trainer.max_epochs=1"))
    first = steps(tmp_path / "run")
    resumed = train.run(compose_config(*bare, *steady, "trainer.max_epochs=3"))
    assert resumed["epochs"] == 3
    assert resumed["train/seconds"] > interrupted["train/seconds"]
    assert rates(tmp_path / "run") == rates(tmp_path / "whole")
    for name, value in weights(tmp_path / "run").items():
        assert torch.equal(value, expected[name]), name
    assert steps(tmp_path / "run")[: len(first)] == first
    assert set(expected_steps) <= set(steps(tmp_path / "run"))


def test_a_finished_run_started_again_only_tests(
    compose_config: Compose, bare: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is learnt, so that the first epoch stays the best: the last is kept all the same.
    config = compose_config(*bare, "scheduler=constant", "optimizer.lr=0.0")
    first = train.run(config)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert first["best_epoch"] == 1
    assert torch.load(last)["epoch"] == 1
    written = last.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(ImageClassifier, "training_step", lambda *_: pytest.fail("trained again"))
        again = train.run(config)
    assert again["test/loss"] == pytest.approx(first["test/loss"])
    assert again["best_epoch"] == 1
    assert last.stat().st_mtime_ns == written


def test_checkpoints_load_with_lightning_alone(
    compose_config: Compose, bare: list[str], tmp_path: Path
) -> None:
    config = compose_config(*bare, "trainer.max_epochs=1", "trainer.limit_train_batches=1")
    train.run(config)
    path = tmp_path / "run" / "checkpoints" / "best.ckpt"
    loaded = ImageClassifier.load_from_checkpoint(path)
    assert loaded.class_names == ("blue", "green", "red")
    images = torch.randint(0, 256, (2, 3, 256, 256), dtype=torch.uint8)
    torch.testing.assert_close(loaded.eval()(images).sum(1), torch.ones(2))


def test_a_limited_run_says_how_many_images_it_counted(
    compose_config: Compose, bare: list[str]
) -> None:
    limits = [f"trainer.limit_{part}_batches=1" for part in ("train", "val", "test")]
    layer = "model.convs.conv3.maps=200"
    result = train.run(compose_config(*bare, *limits, layer, "data.batch_size=4", "logger=none"))
    assert result["test/images"] == 4
    # A network that the paper did not try has no row of it.
    assert result["paper"] is None
    assert result["test/images_in_split"] == 6


def test_the_training_error_is_that_of_centre_crops_of_fixed_images(
    compose_config: Compose, bare: list[str], tmp_path: Path
) -> None:
    config = compose_config(*bare, "trainer.max_epochs=1", "task.training_error_images=21")
    result = train.run(config)
    assert result["train/images_centre_crop"] == 21
    assert result["val/images_tencrop"] == result["val/images"] == 6
    classifier = checkpoint.load_classifier(tmp_path / "run" / "checkpoints" / "best.ckpt").eval()
    source = assembly.build_source(config)
    batches = assembly.build_datamodule(config, source).evaluation_loader("train", at_most=21)
    files = source.split("train")
    samples = [files[SampleKey(key.index)] for key in batches.sampler]
    assert len(samples) == 21
    with torch.no_grad():
        found = classifier(torch.stack([image for image, *_ in samples])).argmax(1)
    wrong = (found != torch.tensor([label for _, label, *_ in samples])).sum().item()
    assert result["train/top1_error_centre_crop"] == pytest.approx(100 * wrong / 21)


def test_ten_crop_error_averages_the_softmax_of_the_ten_crops(
    compose_config: Compose, bare: list[str], tmp_path: Path
) -> None:
    train.run(compose_config(*bare, "trainer.max_epochs=1"))
    classifier = checkpoint.load_classifier(tmp_path / "run" / "checkpoints" / "best.ckpt").eval()
    images = torch.randint(0, 256, (3, 3, 256, 256), dtype=torch.uint8)
    labels = torch.tensor([0, 1, 2])
    crops = classifier.preprocessing.ten_crops(images)
    with torch.no_grad():
        mean = torch.stack([classifier.network(crop).softmax(1) for crop in crops]).mean(0)
        batch = classifier_batch(images, labels)
        classifier.test_step(batch, 0)
    expected = -mean.gather(1, labels[:, None]).log().mean()
    found = classifier.test_error_tencrop.compute()["loss"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def classifier_batch(images: torch.Tensor, labels: torch.Tensor):  # type: ignore[no-untyped-def]
    from zf_lightning.data import Batch

    return Batch(images, labels, torch.arange(len(labels)), torch.ones(len(labels)))


def test_going_on_with_another_network_is_refused(
    compose_config: Compose, bare: list[str], tmp_path: Path
) -> None:
    train.run(compose_config(*bare, "trainer.max_epochs=1"))
    with pytest.raises(UserError, match=r"another network .* convs.conv3 is there in the file"):
        train.run(compose_config(*bare, "ablation=drop_conv34"))


def test_mistakes_with_checkpoints_are_one_sentence(
    compose_config: Compose, bare: list[str], tmp_path: Path, image_folder: Path
) -> None:
    train.run(compose_config(*bare, "trainer.max_epochs=1"))
    ckpt = tmp_path / "run" / "checkpoints" / "best.ckpt"
    with pytest.raises(UserError, match="needs a trained network"):
        test_task.run(compose_config("task=test"))
    with pytest.raises(UserError, match="does not exist"):
        test_task.run(compose_config("task=test", "ckpt=nowhere.ckpt"))
    with pytest.raises(UserError, match=r"another network .* name is zfnet_small"):
        test_task.run(compose_config("task=test", f"ckpt={ckpt}", "model=alexnet"))
    two = ["data=folder", f"data.root={image_folder}", "data.exclude=[red]"]
    with pytest.raises(UserError, match=r"knows 3 classes .* has 2"):
        test_task.run(compose_config("task=test", f"ckpt={ckpt}", *two))
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="not a checkpoint of a network trained here"):
        test_task.run(compose_config("task=test", f"ckpt={tmp_path / 'other.ckpt'}"))
    (tmp_path / "text.ckpt").write_text("text")
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        test_task.run(compose_config("task=test", f"ckpt={tmp_path / 'text.ckpt'}"))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("trainer.accelerator=gpu", "gpu"),
        ("trainer.devices=0", "devices=0"),
        ("trainer.limit_val_batches=0", "a whole number of at least 1"),
        ("trainer.callbacks=[1]", "callbacks"),
        ("trainer.max_epochs=-1", "needs an end"),
        ("scheduler=plateau scheduler.monitor=val/top2_error", "val/top2_error"),
        ("data.root=null", "data.root"),
        ("data.batch_size=0", "from 1 to"),
        ("ablation=[drop_conv34,drop_fc7] model.convs.conv3=null", "removes conv3"),
    ],
)
def test_other_mistakes_are_one_sentence(
    override: str, words: str, compose_config: Compose, bare: list[str]
) -> None:
    if torch.cuda.is_available() and "gpu" in override:
        pytest.skip("this machine has one")
    with pytest.raises(UserError, match=words):
        train.run(compose_config(*bare, *override.split()))


def test_an_initialisation_that_does_not_fit_warns(
    compose_config: Compose, bare: list[str]
) -> None:
    with pytest.warns(UserWarning, match="signal will vanish"):
        train.run(compose_config(*bare, "model.initialisation=paper", "trainer.max_epochs=1"))


def test_filters_stay_within_the_limit_while_training(
    compose_config: Compose, bare: list[str], tmp_path: Path
) -> None:
    limit = "callbacks.filter_renormalisation.rms_limit=0.05"
    train.run(compose_config(*bare, "callbacks=paper", limit, "trainer.max_epochs=1"))
    kernels = [
        v for k, v in weights(tmp_path / "run").items() if k.endswith("weight") and v.ndim == 4
    ]
    assert kernels
    for kernel in kernels:
        assert kernel.square().mean((1, 2, 3)).sqrt().max() <= 0.05 * (1 + 1e-5)


def test_the_trainers_every_argument_is_legal(compose_config: Compose) -> None:
    import inspect

    arguments = set(inspect.signature(lightning.Trainer.__init__).parameters) - {"self"}
    assert set(compose_config().trainer) == arguments


def test_validation_may_come_every_second_epoch(compose_config: Compose, bare: list[str]) -> None:
    every = ["trainer.check_val_every_n_epoch=2", "scheduler=plateau", "trainer.max_epochs=4"]
    result = train.run(compose_config(*bare, *every))
    assert result["best_epoch"] in (2, 4)


@pytest.mark.slow
def test_a_run_ends_when_its_time_is_up(compose_config: Compose, bare: list[str]) -> None:
    endless = ["trainer.max_epochs=100000", "trainer.max_time=00:00:00:02"]
    assert 0 < train.run(compose_config(*bare, *endless))["epochs"] < 1000


def test_a_run_shorter_than_its_validation_is_tested_as_it_is(
    compose_config: Compose, bare: list[str], tmp_path: Path
) -> None:
    short = ["trainer.check_val_every_n_epoch=2", "trainer.max_epochs=1"]
    result = train.run(compose_config(*bare, *short))
    assert "val/top1_error" not in result and result["test/images"] == 6


def test_a_broken_file_is_named_in_one_sentence_from_a_worker(
    compose_config: Compose, bare: list[str], tmp_path: Path, image_folder: Path
) -> None:
    root = tmp_path / "images"
    shutil.copytree(image_folder, root)
    (root / "red" / "004.png").write_text("no image")
    broken = [f"data.root={root}", "data.workers=1", "model.preprocessing.mean=none"]
    with pytest.raises(UserError) as mistake:
        train.run(compose_config(*bare, *broken))
    assert mistake.value.sentence.startswith(f"{root / 'red' / '004.png'} cannot be read")
    assert "\n" not in mistake.value.sentence


def test_a_run_without_bar_callbacks_and_loggers(compose_config: Compose, bare: list[str]) -> None:
    without = ["logger=none", "callbacks.progress=null"]
    assert train.run(compose_config(*bare, *without))["epochs"] == 2
