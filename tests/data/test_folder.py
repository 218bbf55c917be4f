"""Folders of images: layouts, splits, and mistakes."""

from pathlib import Path

import numpy
import pytest

from tests.conftest import write_images
from zf_lightning.data import FolderSource
from zf_lightning.errors import UserError


def test_splits_are_disjoint_whole_and_repeatable(image_folder: Path) -> None:
    source, again = FolderSource(image_folder), FolderSource(image_folder)
    assert source.class_names == ("blue", "green", "red")
    names = {split: source.split(split).names for split in ("train", "val", "test")}
    assert [len(names[split]) for split in ("train", "val", "test")] == [48, 6, 6]
    assert len({name for split in names.values() for name in split}) == 60
    assert all(again.split(split).names == names[split] for split in ("train", "val", "test"))
    other = FolderSource(image_folder, seed=1)
    assert other.split("val").names != names["val"]


def test_labels_are_those_of_the_folders(image_folder: Path) -> None:
    source = FolderSource(image_folder)
    for name, label in zip(source.split("train").names, source.split("train").labels, strict=True):
        assert name.startswith(source.class_names[label] + "/")


def test_training_images_can_be_limited_without_moving_the_other_splits(
    image_folder: Path,
) -> None:
    whole, few = FolderSource(image_folder), FolderSource(image_folder, train_per_class=5)
    assert numpy.bincount(few.split("train").labels).tolist() == [5, 5, 5]
    assert set(few.split("train").names) < set(whole.split("train").names)
    assert few.split("test").names == whole.split("test").names


def test_a_class_can_be_left_out(image_folder: Path) -> None:
    assert FolderSource(image_folder, exclude=["red"]).class_names == ("blue", "green")
    with pytest.raises(UserError, match="purple"):
        FolderSource(image_folder, exclude=["purple"]).prepare()


def test_given_splits_are_used(tmp_path: Path) -> None:
    for split, count in (("train", 5), ("val", 3), ("test", 2)):
        for hue, name in enumerate(("red", "green")):
            write_images(tmp_path / split / name, count, hue=hue)
    source = FolderSource(tmp_path)
    assert [len(source.split(s)) for s in ("train", "val", "test")] == [10, 6, 4]
    assert source.split("val").names[0] == "val/green/000.png"


def test_without_a_test_folder_the_validation_images_are_tested(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for hue, name in enumerate(("n01", "n02")):
            write_images(tmp_path / split / name, 3, hue=hue)
    source = FolderSource(tmp_path)
    assert source.split("test") is source.split("val")


def test_files_that_are_no_images_are_not_read(tmp_path: Path) -> None:
    for hue, name in enumerate(("red", "green")):
        write_images(tmp_path / name, 5, hue=hue)
    (tmp_path / "red" / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden").mkdir()
    assert sum(len(FolderSource(tmp_path).split(s)) for s in ("train", "val", "test")) == 10


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a folder; expected either one folder a class"):
        FolderSource(tmp_path / "nowhere").prepare()
    with pytest.raises(UserError, match="no class folders"):
        FolderSource(tmp_path).prepare()
    write_images(tmp_path / "red", 5, hue=0)
    with pytest.raises(UserError, match=r"one class folder \(red\)"):
        FolderSource(tmp_path).prepare()
    (tmp_path / "green").mkdir()
    with pytest.raises(UserError, match="needs at least 3"):
        FolderSource(tmp_path).prepare()
    (tmp_path / "empty" / "red").mkdir(parents=True)
    (tmp_path / "empty" / "green").mkdir()
    with pytest.raises(UserError, match="contain no images"):
        FolderSource(tmp_path / "empty").prepare()
    with pytest.raises(UserError, match="leave nothing"):
        FolderSource(tmp_path, validation_share=0.5, test_share=0.5)


def test_a_missing_validation_folder_is_named(tmp_path: Path) -> None:
    write_images(tmp_path / "train" / "red", 3, hue=0)
    write_images(tmp_path / "train" / "green", 3, hue=1)
    with pytest.raises(UserError, match="no folder val"):
        FolderSource(tmp_path).prepare()


@pytest.mark.parametrize(
    ("train", "val"), [("Training", "Validation"), ("train", "valid"), ("TRAIN", "Val")]
)
def test_splits_may_have_other_usual_names(train: str, val: str, tmp_path: Path) -> None:
    for folder, count in ((train, 5), (val, 3), ("Testing", 2)):
        for hue, name in enumerate(("red", "green")):
            write_images(tmp_path / folder / name, count, hue=hue)
    source = FolderSource(tmp_path)
    assert [len(source.split(s)) for s in ("train", "val", "test")] == [10, 6, 4]
    assert source.split("train").names[0] == f"{train}/green/000.png"


def test_folders_of_splits_that_are_incomplete_are_listed(tmp_path: Path) -> None:
    for folder in ("Training", "Testing"):
        for hue, name in enumerate(("red", "green")):
            write_images(tmp_path / folder / name, 3, hue=hue)
    with pytest.raises(UserError, match=r"no folder val, only Training .train., Testing .test."):
        FolderSource(tmp_path).prepare()
    (tmp_path / "val").mkdir()
    (tmp_path / "valid").mkdir()
    with pytest.raises(UserError, match=r"several folders .* val \(val\), valid \(val\)"):
        FolderSource(tmp_path).prepare()


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    for hue, name in enumerate(("testing", "training", "red")):
        write_images(tmp_path / "one" / name, 3, hue=hue % 3)
    (tmp_path / "one" / "testing").rename(tmp_path / "one" / "blue")
    assert FolderSource(tmp_path / "one").class_names == ("blue", "red", "training")


def test_classes_without_images_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for split in ("train", "val"):
        for hue, name in enumerate(("red", "green")):
            write_images(tmp_path / split / name, 3, hue=hue)
    write_images(tmp_path / "train" / "blue", 3, hue=2)
    with caplog.at_level("WARNING"):
        FolderSource(tmp_path).prepare()
    assert "val has no images of 1 of 3 classes: blue." in caplog.text
    for file in (tmp_path / "train" / "blue").iterdir():
        file.unlink()
    with pytest.raises(UserError, match=r"train has no images of 1 of 3 classes: blue; leave"):
        FolderSource(tmp_path).prepare()
    assert FolderSource(tmp_path, exclude=["blue"]).class_names == ("green", "red")


@pytest.mark.parametrize("name", ["__MACOSX", "@eaDir", "System Volume Information"])
def test_folders_of_systems_are_neither_classes_nor_read(name: str, tmp_path: Path) -> None:
    for hue, folder in enumerate(("red", "green")):
        write_images(tmp_path / folder, 5, hue=hue)
    write_images(tmp_path / name / "red", 5, hue=0)
    write_images(tmp_path / "red" / name / "000.png", 2, hue=0)
    source = FolderSource(tmp_path)
    assert source.class_names == ("green", "red")
    assert sum(len(source.split(split)) for split in ("train", "val", "test")) == 10


def test_the_content_key_changes_with_the_files(tmp_path: Path) -> None:
    for hue, name in enumerate(("red", "green")):
        write_images(tmp_path / name, 5, hue=hue)
    before = FolderSource(tmp_path).split("train").content_key()
    assert FolderSource(tmp_path).split("train").content_key() == before
    file = tmp_path / FolderSource(tmp_path).split("train").names[0]
    file.write_bytes(file.read_bytes() + b"\0")
    assert FolderSource(tmp_path).split("train").content_key() != before


def test_folders_of_folds_are_not_taken_for_classes_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for fold in ("fold1", "fold2"):
        for hue, name in enumerate(("red", "green")):
            write_images(tmp_path / fold / name, 3, hue=hue)
    with caplog.at_level("WARNING"):
        assert FolderSource(tmp_path).class_names == ("fold1", "fold2")
    assert "fold1, fold2 are taken for classes, but each has the folders green, red" in caplog.text


def test_other_names_of_classes_and_loose_images_of_a_split_are_named(tmp_path: Path) -> None:
    for split, names in (("train", ("Cat", "Dog")), ("val", ("cat", "dog"))):
        for hue, name in enumerate(names):
            write_images(tmp_path / split / name, 3, hue=hue)
    with pytest.raises(UserError, match=r"val has classes that .*train does not have: cat, dog"):
        FolderSource(tmp_path).prepare()
    for name in ("cat", "dog"):
        (tmp_path / "val" / name).rename(tmp_path / name)
    write_images(tmp_path / "val", 4, hue=0)
    with pytest.raises(UserError, match=r"contain no images .*, but 4 lie beside them"):
        FolderSource(tmp_path).prepare()
