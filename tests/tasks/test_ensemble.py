"""Several networks that answer together, and predictions for images without labels."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.conftest import Compose, composing_in, tiny_run
from zf_lightning.errors import UserError
from zf_lightning.tasks import predict, train
from zf_lightning.tasks import test as test_task
from zf_lightning.training import checkpoint
from zf_lightning.training.ensemble import Ensemble


@pytest.fixture(scope="module")
def networks(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two checkpoints that differ in width and seed."""
    folder = tmp_path_factory.mktemp("networks")
    composed, tiny = composing_in(folder), tiny_run(image_folder, folder / "data")
    short = ["trainer.max_epochs=1", "callbacks.probe=null", "logger=none"]
    for number, width in enumerate((0.05, 0.03)):
        # The splits are the same, the weights are not.
        options = [f"model.width={width}", f"seed={number}", "data.seed=0"]
        train.run(composed(*tiny, *short, *options))
        (folder / "run").rename(folder / f"network{number}")
    return [str(folder / f"network{number}") for number in range(2)]


def several(networks: list[str]) -> str:
    return f"ckpt=[{','.join(networks)}]"


def test_an_ensemble_averages_the_softmaxes(networks: list[str]) -> None:
    members = [checkpoint.load_classifier(p).eval() for p in checkpoint.find_checkpoints(networks)]
    images = torch.randint(0, 256, (3, 3, 256, 256), dtype=torch.uint8)
    with torch.no_grad():
        one, ten = Ensemble(members).eval().crop_probabilities(images)
        torch.testing.assert_close(one, (members[0](images) + members[1](images)) / 2)
        crops = [
            member.network(crop).softmax(1)
            for member in members
            for crop in member.preprocessing.ten_crops(images)
        ]
    torch.testing.assert_close(ten, torch.stack(crops).mean(0))


def test_several_checkpoints_are_tested_together_and_alone(
    compose_config: Compose, networks: list[str], tmp_path: Path
) -> None:
    plain = ["task=test", "data.workers=0", "logger=none"]
    result = test_task.run(compose_config(*plain, several(networks)))
    folder = tmp_path / "run"
    assert result["test/images"] == 6 and len(result["ckpt"]) == 2
    rows = json.loads((folder / "tables" / "ensemble.json").read_text())["rows"]
    assert rows[-1]["network"] == "2 networks, mean of the softmaxes"
    for number, network in enumerate(networks):
        alone = test_task.run(compose_config(*plain, f"ckpt={network}"))
        for error in ("top1_error", "top5_error", "loss", "top1_error_tencrop", "loss_tencrop"):
            found = result[f"test/member{number}/{error}"]
            assert found == pytest.approx(alone[f"test/{error}"], rel=1e-5)
        assert rows[number]["top-1, ten crops"] == pytest.approx(alone["test/top1_error_tencrop"])
    # By Jensen's inequality.
    losses = [result[f"test/member{number}/loss"] for number in range(2)]
    assert result["test/loss"] <= sum(losses) / 2 + 1e-6


def test_mistakes_with_several_checkpoints_are_one_sentence(
    compose_config: Compose, networks: list[str], image_folder: Path
) -> None:
    with pytest.raises(UserError, match="does not exist"):
        test_task.run(compose_config("task=test", several([networks[0], "nowhere"])))
    with pytest.raises(UserError, match=r"leave out model=…"):
        test_task.run(compose_config("task=test", several(networks), "model=alexnet"))
    two = ["data=folder", f"data.root={image_folder}", "data.exclude=[red]"]
    with pytest.raises(UserError, match=r"knows 3 classes .* has 2"):
        test_task.run(compose_config("task=test", several(networks), *two))


def test_predictions_are_in_the_format_of_the_challenge(
    compose_config: Compose,
    networks: list[str],
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As the archive unpacks: flat, and not in the order in which they were written.
    unlabelled = tmp_path / "test"
    unlabelled.mkdir()
    for number, hue in enumerate(("red", "blue", "green", "blue"), start=1):
        target = unlabelled / f"ILSVRC2012_test_{5 - number:08}.png"
        shutil.copy(image_folder / hue / f"00{number}.png", target)
    options = ["task=predict", several(networks), f"predict.root={unlabelled}", "data.workers=0"]
    predict.run(compose_config(*options, "data.batch_size=3"))
    lines = (tmp_path / "run" / "predictions.txt").read_text().splitlines()
    # Three classes, so that there are three guesses, each class once.
    assert len(lines) == 4
    assert all(sorted(map(int, line.split())) == [1, 2, 3] for line in lines)
    with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == sorted(file.name for file in unlabelled.iterdir())
    names = ("blue", "green", "red")
    for line, row in zip(lines, rows, strict=True):
        assert [names[int(n) - 1] for n in line.split()] == [row[f"class {i}"] for i in (1, 2, 3)]
        assert float(row["percent 1"]) >= float(row["percent 2"]) >= float(row["percent 3"])

    # With the devkit's numbers, which are in another order.
    with monkeypatch.context() as patch:
        patch.setattr("zf_lightning.data.FolderSource.devkit_ids", (30, 10, 20), raising=False)
        predict.run(compose_config(*options, "predict.class_ids=devkit"))
    numbers = {1: 30, 2: 10, 3: 20}
    again = (tmp_path / "run" / "predictions.txt").read_text().splitlines()
    assert again == [" ".join(str(numbers[int(n)]) for n in line.split()) for line in lines]


def test_mistakes_with_predictions_are_one_sentence(
    compose_config: Compose, networks: list[str], image_folder: Path
) -> None:
    root = f"predict.root={image_folder}"
    for options, words in (
        ([], "needs predict.root"),
        (["predict.root=nowhere"], "not a folder with images"),
        ([root, "predict.crops=5"], "must be 1 or 10"),
        ([root, "predict.class_ids=wnid"], "it must be position or devkit"),
        ([root, "predict.class_ids=devkit"], "needs ImageNet with its devkit"),
    ):
        with pytest.raises(UserError, match=words):
            predict.run(compose_config("task=predict", several(networks), *options))
