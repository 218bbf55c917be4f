"""Images to look into a network with: their folders name them, if they lie in any."""

from pathlib import Path

import pytest

from tests.conftest import write_images
from zf_lightning.data import UnlabelledImages
from zf_lightning.errors import UserError


def test_folders_name_the_images(image_folder: Path) -> None:
    source = UnlabelledImages(image_folder)
    files = source.split("val")
    assert source.class_names == ("blue", "green", "red")
    assert len(files) == 60 and files.names[0].startswith("blue/")
    assert [int((files.labels == label).sum()) for label in range(3)] == [20, 20, 20]
    assert source.split("train") is files


def test_wnids_are_shown_by_name(tmp_path: Path) -> None:
    for wnid in ("n01440764", "n99999999", "n00000001"):
        write_images(tmp_path / "val" / wnid, 1, hue=0)
    (tmp_path / "LOC_synset_mapping.txt").write_text("n00000001 crane, Grus\n")
    source = UnlabelledImages(tmp_path / "val")
    assert source.class_names == ("crane", "tench", "n99999999")


@pytest.mark.parametrize("folders", [[""], ["", "more"], ["one/deep", "one"]])
def test_images_that_no_folders_tell_apart_have_no_label(
    folders: list[str], tmp_path: Path
) -> None:
    for folder in folders:
        write_images(tmp_path / folder, 2, hue=0)
    source = UnlabelledImages(tmp_path)
    assert source.split("val").labels.tolist() == [-1] * 2 * len(folders)
    assert source.class_names == ()


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder of images"):
        UnlabelledImages(tmp_path / "nowhere").prepare()
    with pytest.raises(UserError, match="contains no images"):
        _ = UnlabelledImages(tmp_path).class_names
