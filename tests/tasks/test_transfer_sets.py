"""task=transfer on the layouts of Caltech-256 and PASCAL VOC, drawn on the disk."""

import csv
import json
from pathlib import Path

import pytest

from tests.conftest import Compose, write_images
from tests.data.voc_files import annotate, box
from zf_lightning.errors import UserError
from zf_lightning.tasks import transfer

COLOURS = ("aeroplane", "bird", "cat")


@pytest.fixture
def trained(trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options for a network that has seen the small pictures."""
    from zf_lightning.analysis.transfer import classifiers

    monkeypatch.setattr(classifiers, "STRENGTHS", {"svm": (10.0,), "softmax": (10.0,)})
    ours = ["data.workers=0", "logger=csv", f"paths.cache={tmp_path / 'cache'}"]
    return ["task=transfer", f"ckpt={trained_run}", *ours]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_caltech256_has_the_papers_table_and_curve(
    compose_config: Compose, trained: list[str], tmp_path: Path
) -> None:
    root = tmp_path / "256_ObjectCategories"
    for hue, name in enumerate(("001.ak47", "056.dog", "257.clutter")):
        write_images(root / name, 64 + hue, hue=hue)
    options = ["data=caltech256", f"data.root={tmp_path}", "transfer.folds=2"]
    result = transfer.run(compose_config(*trained, *options))
    # The clutter is no class.
    assert result["classes"] == 2 and result["images"] == 64 + 65
    tables = tmp_path / "run" / "tables"
    accuracy = read(tables / "accuracy.csv")
    assert [row["images a class"] for row in accuracy[:4]] == ["15", "30", "45", "60"]
    softmax = {r["images a class"]: r for r in accuracy if r["classifier"] == "softmax"}
    assert softmax["15"]["paper"] == "65.7" and softmax["15"]["paper's row"].startswith("Table 5")
    # With 60 images a class, layer 7 is a row of Table 7.
    assert (
        softmax["60"]["paper"] == "72.6" and softmax["60"]["paper's row"] == "Table 7, softmax (7)"
    )
    comparison = {row[""]: row for row in read(tables / "table_5.csv")}
    assert comparison["paper: Sohn et al., 2011"]["60"] == "47.9"
    assert float(comparison["ours, pretrained, softmax on fc7"]["60"]) > 90
    assert (tmp_path / "run" / "figures" / "accuracy_by_images.png").is_file()


def draw_voc(folder: Path) -> None:
    """Images of one colour a class; every fourth shows the next class as well, smaller."""
    lists: dict[str, list[str]] = {"train": [], "val": []}
    for hue, name in enumerate(COLOURS):
        write_images(folder / "JPEGImages", 16, hue=hue)
        for number in range(16):
            image = f"{hue}_{number:03}"
            (folder / "JPEGImages" / f"{number:03}.png").rename(
                folder / "JPEGImages" / f"{image}.jpg"
            )
            objects = [box(name, 30)]
            if number % 4 == 0:
                other = COLOURS[(hue + 1) % 3]
                objects.append(box(other, 10, difficult=number == 0))
            annotate(folder, image, *objects)
            lists["train" if number < 10 else "val"].append(image)
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    for name, images in lists.items():
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(images) + "\n")


def test_voc_has_its_own_split_and_average_precisions(
    compose_config: Compose, trained: list[str], tmp_path: Path
) -> None:
    draw_voc(tmp_path / "VOCdevkit" / "VOC2012")
    options = ["data=voc2012", f"data.root={tmp_path}", "transfer.layers=[conv5,fc7]"]
    result = transfer.run(compose_config(*trained, *options))
    folds = json.loads((tmp_path / "run" / "folds.json").read_text())["folds"]
    (split,) = folds["split"]
    assert (len(split["train"]), len(split["test"])) == (30, 18)
    assert result["folds"] == 1
    rows = {
        row["class"]: row for row in read(tmp_path / "run" / "tables" / "average_precision.csv")
    }
    assert len(rows) == 21
    # Nearly every image of a colour is found; the second class of an image cannot be.
    for name in COLOURS:
        assert 60 < float(rows[name]["softmax on fc7"]) <= 100
        assert 60 < float(rows[name]["svm on conv5"]) <= 100
    assert rows["dog"]["softmax on fc7"] == ""
    assert rows["dog"]["paper"] == "87.8" and rows["mean"]["paper"] == "79.0"


def test_images_that_would_be_learnt_and_tested_are_refused(
    compose_config: Compose, trained: list[str], tmp_path: Path
) -> None:
    draw_voc(tmp_path / "VOCdevkit" / "VOC2012")
    lists = tmp_path / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main"
    both = (lists / "train.txt").read_text() + (lists / "val.txt").read_text()
    (lists / "trainval.txt").write_text(both)
    # Without annotations of the test images, val is tested on.
    options = ["data=voc2012", f"data.root={tmp_path}", "data.image_sets.train=trainval"]
    with pytest.raises(UserError, match="18 images of data=voc2012 are training and test images"):
        transfer.run(compose_config(*trained, *options))
