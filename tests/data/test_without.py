"""Sources with files left out."""

from pathlib import Path

import pytest

from tests.conftest import write_images
from zf_lightning.data import FolderSource, SourceWithout
from zf_lightning.errors import UserError


@pytest.fixture
def source(tmp_path: Path) -> FolderSource:
    """Two splits of two classes; the test images are the validation's."""
    for split in ("train", "val"):
        for hue, name in enumerate(("red", "green")):
            write_images(tmp_path / split / name, 3, hue=hue)
    return FolderSource(
        tmp_path, exclude=(), validation_share=0.1, test_share=0.1, train_per_class=None, seed=0
    )


def names(source: SourceWithout) -> set[str]:
    return {name for split in ("train", "val") for name in source.split(split).names}  # type: ignore[arg-type]


def test_named_files_are_left_out(source: FolderSource) -> None:
    without = SourceWithout(source, ["train/red/000.png", "val/green/002.png"])
    without.prepare()
    assert len(names(without)) == 10
    assert not {"train/red/000.png", "val/green/002.png"} & names(without)
    assert without.class_names == source.class_names


def test_names_may_begin_at_a_folder_within(source: FolderSource) -> None:
    without = SourceWithout(source, ["red/001.png"])
    without.prepare()
    assert len(names(without)) == 10
    assert not {"train/red/001.png", "val/red/001.png"} & names(without)


def test_splits_that_are_one_stay_one(source: FolderSource) -> None:
    without = SourceWithout(source, ["val/red/001.png"])
    without.prepare()
    assert source.split("test") is source.split("val")
    assert without.split("test") is without.split("val")
    assert without.split("train") is not without.split("val")
    assert len(without.split("train")) == 6


@pytest.mark.parametrize("listed", [["001.png"], ["blue/001.png"], ["d/001.png"]])
def test_names_that_are_not_there_are_an_error(source: FolderSource, listed: list[str]) -> None:
    with pytest.raises(UserError, match=r"None of the 1 names .* as (train|val)/"):
        SourceWithout(source, listed).prepare()


def test_a_split_must_keep_an_image(source: FolderSource) -> None:
    every = [f"val/{name}/{number:03}.png" for name in ("red", "green") for number in range(3)]
    with pytest.raises(UserError, match="leaves no image in the val split"):
        SourceWithout(source, every).prepare()
