"""task=overlap, and leaving out what it finds."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Compose
from tests.pictures import scenes
from zf_lightning.errors import UserError
from zf_lightning.tasks import overlap
from zf_lightning.training import build as assembly


def draw(folder: Path, count: int, seed: int) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(scenes(count, seed)):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number}.png")


@pytest.fixture
def sets(tmp_path: Path) -> list[str]:
    """Two classes to transfer to, two of whose images are also in the other set."""
    for seed, name in enumerate(("cat", "dog")):
        draw(tmp_path / "small" / name, 4, seed)
    draw(tmp_path / "large" / "train", 5, seed=7)
    with Image.open(tmp_path / "small" / "cat" / "2.png") as copied:
        copied.resize((300, 300)).save(tmp_path / "large" / "train" / "again.jpg", quality=60)
    shutil.copy(tmp_path / "small" / "dog" / "0.png", tmp_path / "large" / "same.png")
    (tmp_path / "large" / "broken.png").write_text("no image")
    data = ["data=folder", f"data.root={tmp_path / 'small'}", "data.workers=0"]
    return ["task=overlap", *data, f"overlap.root={tmp_path / 'large'}"]


def test_what_both_sets_have_is_listed_and_can_be_left_out(
    compose_config: Compose, sets: list[str], tmp_path: Path
) -> None:
    result = overlap.run(compose_config(*sets))
    assert (result["pairs"], result["overlapping_images"]) == (2, 2)
    assert (result["images"], result["pretraining_images"]) == (8, 8)
    folder = tmp_path / "run"
    rows = (folder / "tables" / "overlap.csv").read_text().splitlines()
    assert rows[1] == "dog/0.png,same.png,1.0000"
    assert rows[2].startswith("cat/2.png,train/again.jpg,0.9")
    with Image.open(folder / "figures" / "overlap.png") as sheet:
        assert sheet.width > 500

    exclude = f"data.exclude_files={folder / 'overlap_transfer.txt'}"
    source = assembly.build_source(compose_config(*sets, exclude))
    names = [name for s in ("train", "val", "test") for name in source.split(s).names]
    everything = {f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(4)}
    assert set(names) == everything - {"cat/2.png", "dog/0.png"}
    assert source.class_names == ("cat", "dog")


def test_mistakes_are_one_sentence(
    compose_config: Compose, sets: list[str], tmp_path: Path
) -> None:
    for option, words in (
        ("overlap.root=null", "needs the set to compare with"),
        (f"overlap.root={tmp_path / 'none'}", "not a folder with images"),
        ("overlap.threshold=0", "a number above 0"),
        ("data.exclude_files=nowhere.txt", "does not exist"),
    ):
        with pytest.raises(UserError, match=words):
            overlap.run(compose_config(*sets, option))
