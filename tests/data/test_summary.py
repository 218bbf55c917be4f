"""What is said about the user's images before anything is computed."""

import json
from pathlib import Path

import pytest

from tests.conftest import Compose, write_images
from zf_lightning.data import FolderSource, SourceWithout, UnlabelledImages
from zf_lightning.data.summary import summarise, summary_lines
from zf_lightning.training.build import build_source


def two_classes(root: Path, *, count: int = 6) -> Path:
    for hue, name in enumerate(("cat", "dog")):
        write_images(root / name, count, hue=hue)
    return root


def test_drawn_splits(tmp_path: Path) -> None:
    two_classes(tmp_path)
    (tmp_path / "cat" / "5.txt").touch()
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "loose.png").touch()
    (tmp_path / "cat" / "@eaDir").mkdir()
    write_images(tmp_path / "bird", 3, hue=2)
    lines = summary_lines(summarise(FolderSource(tmp_path, train_per_class=3), name="folder"))
    assert lines == [
        f"data=folder {tmp_path}: 3 classes, bird, cat, dog "
        "(one folder a class, splits drawn from seed 0)",
        "  train  7 images, 1 (bird) to 3 (cat) a class",
        "  val    3 images, 1 a class",
        "  test   3 images, 1 a class",
        "  ignored: 2 × training images (data.train_per_class), 1 × .txt (no image extension), "
        "1 × @eaDir (a system's folder), 1 × hidden, 1 × images beside the class folders",
    ]


def test_given_splits(tmp_path: Path) -> None:
    two_classes(tmp_path / "Training")
    two_classes(tmp_path / "valid", count=2)
    (tmp_path / "masks").mkdir()
    write_images(tmp_path / "valid" / "cat", 4, hue=0)
    summary = summarise(FolderSource(tmp_path), name="folder")
    assert summary["classes"]["cat"] == {"train": 6, "val": 4, "test": 4}
    assert summary_lines(summary) == [
        f"data=folder {tmp_path}: 2 classes, cat, dog (splits Training/, valid/)",
        "  train  12 images, 6 a class",
        "  val    6 images, 2 (dog) to 4 (cat) a class",
        "  test   the images of val",
        "  ignored: 1 × folder masks beside the splits",
    ]


def test_unlabelled_and_left_out(tmp_path: Path) -> None:
    write_images(tmp_path, 4, hue=0)
    lines = summary_lines(summarise(UnlabelledImages(tmp_path), name="images"))
    assert lines == [f"data=images {tmp_path}: no classes", "  4 images, no splits"]
    two_classes(tmp_path / "labelled")
    source = SourceWithout(FolderSource(tmp_path / "labelled"), ["cat/000.png"])
    source.prepare()
    assert summarise(source, name="folder")["ignored"] == {"images (data.exclude_files)": 1}


def test_it_stands_in_the_runs_folder(
    tmp_path: Path, compose_config: Compose, caplog: pytest.LogCaptureFixture
) -> None:
    two_classes(tmp_path / "Bilder")
    config = compose_config("data=folder", f"data.root={tmp_path / 'Bilder'}")
    with caplog.at_level("INFO"):
        build_source(config)
    assert "2 classes, cat, dog (one folder a class" in caplog.text
    stored = json.loads((tmp_path / "run" / "data.json").read_text())
    assert stored["images"] == {"train": 8, "val": 2, "test": 2}
