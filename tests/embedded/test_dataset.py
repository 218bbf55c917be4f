"""The embedded dataset: the same bytes always, true masks, true parts, nothing half done."""

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zf_lightning import embedded
from zf_lightning.embedded import dataset, worker
from zf_lightning.embedded.fields import KINDS, texture

COUNTS = {"train": 20, "val": 10, "test": 10}


def digests(root: Path) -> dict[str, str]:
    """Hash of every file below a folder, by its name in it."""
    return {
        file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in root.rglob("*")
        if file.is_file()
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("embedded") / "drawn"
    return embedded.draw_dataset(root, counts=COUNTS, processes=1, progress=False)


@pytest.fixture(scope="module")
def drawings() -> list[embedded.Drawing]:
    return [embedded.draw_image(3, "train", index) for index in range(120)]


def test_same_bytes_for_any_number_of_processes(drawn: Path, tmp_path: Path) -> None:
    again = embedded.draw_dataset(tmp_path / "2", counts=COUNTS, processes=2, progress=False)
    assert digests(again) == digests(drawn)


def test_image_depends_on_seed_split_and_index_only() -> None:
    first = embedded.draw_image(1, "val", 17)
    embedded.draw_image(1, "val", 16)
    np.random.default_rng(0).random(5)
    again = embedded.draw_image(1, "val", 17)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert (first.parts, first.box, first.scale) == (again.parts, again.box, again.scale)
    for other in ((2, "val", 17), (1, "train", 17), (1, "test", 17), (1, "val", 27)):
        assert not np.array_equal(first.image, embedded.draw_image(*other).image)


def test_no_image_is_drawn_twice(drawn: Path) -> None:
    images = [digest for name, digest in digests(drawn).items() if name.endswith(".jpg")]
    assert len(images) == len(set(images)) == sum(COUNTS.values())


def test_layout_and_balance(drawn: Path) -> None:
    records = json.loads((drawn / "parts.json").read_text())
    assert sorted(folder.name for folder in drawn.iterdir() if folder.is_dir()) == [
        "masks",
        "test",
        "train",
        "val",
    ]
    for split, count in COUNTS.items():
        folders = sorted((drawn / split).iterdir())
        assert [folder.name for folder in folders] == list(embedded.CLASSES)
        for folder in folders:
            files = sorted(folder.iterdir())
            assert [file.name for file in files] == [f"{k:05d}.jpg" for k in range(count // 10)]
            masks = sorted((drawn / "masks" / split / folder.name).iterdir())
            assert [mask.stem for mask in masks] == [file.stem for file in files]
    names = {file.relative_to(drawn).as_posix() for file in drawn.glob("[tv]*/*/*.jpg")}
    assert set(records["images"]) == names
    assert records["classes"] == {name: list(parts) for name, parts in embedded.PARTS.items()}


def test_files_hold_what_was_drawn(drawn: Path) -> None:
    records = json.loads((drawn / "parts.json").read_text())["images"]
    drawing = embedded.draw_image(0, "train", 16)
    assert drawing.class_name == "face"
    with Image.open(drawn / "train/face/00001.jpg") as image:
        assert (image.mode, image.size) == ("RGB", (256, 256))
        difference = np.abs(np.asarray(image).astype(int) - drawing.image.astype(int))
    assert difference.mean() < 6
    with Image.open(drawn / "masks/train/face/00001.png") as mask:
        assert mask.mode == "L"
        assert np.array_equal(np.asarray(mask), np.where(drawing.mask, 255, 0))
    entry = records["train/face/00001.jpg"]
    assert entry["box"] == list(drawing.box)
    assert entry["scale"] == drawing.scale
    assert {name: tuple(at) for name, at in entry["parts"].items()} == drawing.parts


def test_labels_and_parts_of_every_class(drawings: list[embedded.Drawing]) -> None:
    assert embedded.CLASSES == tuple(sorted(embedded.PARTS))
    assert {"right_eye", "left_eye", "nose", "mouth"} <= set(embedded.PARTS["face"])
    assert all(len(parts) >= 3 for parts in embedded.PARTS.values())
    for index, drawing in enumerate(drawings):
        assert drawing.label == index % 10
        assert drawing.class_name == embedded.CLASSES[drawing.label]
        assert tuple(drawing.parts) == embedded.PARTS[drawing.class_name]


def test_masks_fill_their_boxes(drawings: list[embedded.Drawing]) -> None:
    for drawing in drawings:
        assert drawing.image.dtype == np.uint8 and drawing.image.shape == (256, 256, 3)
        assert drawing.mask.dtype == bool and drawing.mask.shape == (256, 256)
        x0, y0, x1, y1 = drawing.box
        assert 0.04 < drawing.mask.mean() < 0.8
        assert drawing.mask[y0:y1, x0:x1].sum() == drawing.mask.sum()
        assert drawing.mask[y0:y1, x0:x1].mean() > 0.2
        # The box is the object's extent but for what reaches over the edge of the image.
        assert 0.6 <= drawing.scale <= 0.95
        longer = max(x1 - x0, y1 - y0)
        assert 256 * drawing.scale - 16 < longer < 256 * drawing.scale + 10


def test_parts_lie_on_the_visible_object(drawings: list[embedded.Drawing]) -> None:
    for drawing in drawings:
        for name, (x, y) in drawing.parts.items():
            column, row = int(x), int(y)  # pixel k covers k..k+1
            around = drawing.mask[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
            assert around.any(), f"{drawing.class_name} {name} at {x}, {y}"


def test_right_is_the_subjects_own(drawings: list[embedded.Drawing]) -> None:
    for drawing in drawings:
        if drawing.class_name == "face":
            assert drawing.parts["right_eye"][0] < drawing.parts["left_eye"][0]
        if drawing.class_name == "butterfly":
            parts = drawing.parts
            assert parts["right_upper_wing"][0] > parts["left_upper_wing"][0]


def test_colour_does_not_tell_the_class(drawings: list[embedded.Drawing]) -> None:
    means = np.array([drawing.image[drawing.mask].mean(0) for drawing in drawings])
    labels = np.array([drawing.label for drawing in drawings])
    between = np.stack([means[labels == label].mean(0) for label in range(10)]).std(0)
    assert (between < 0.6 * means.std(0)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_textures_stay_in_range(kind: str) -> None:
    for seed in range(4):
        field = texture(np.random.default_rng(seed), kind)
        assert field.shape == (256, 256) and field.dtype == np.float32
        assert field.min() >= 0 and field.max() <= 1
        assert field.std() > 0.01


def test_complete_dataset_is_left_alone(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "_draw_into", lambda *_: pytest.fail("drew again"))
    assert embedded.draw_dataset(drawn, counts=COUNTS) == drawn


def test_interrupted_drawing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    counts = {"train": 10}
    complete = worker.draw_all

    def interrupted(*arguments):  # type: ignore[no-untyped-def]
        for number, record in enumerate(complete(*arguments)):
            if number == 4:
                raise KeyboardInterrupt
            yield record

    monkeypatch.setattr(dataset, "draw_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        embedded.draw_dataset(root, counts=counts, processes=2, progress=False)
    assert not root.exists()
    (half,) = tmp_path.glob(".data.drawing")
    assert not (half / "dataset.json").exists()

    monkeypatch.undo()
    embedded.draw_dataset(root, counts=counts, processes=1, progress=False)
    assert not half.exists()
    assert len(list(root.glob("train/*/*.jpg"))) == 10


def test_failure_of_a_worker_is_an_error(tmp_path: Path) -> None:
    drawing = worker.draw_all(tmp_path / "absent", 0, {"train": 4}, 2)
    with pytest.raises(RuntimeError, match="failed"):
        list(drawing)


def test_several_may_call_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Threads with a lock each stand for processes: the lock belongs to the open file.
    begun = []
    draw_into = dataset._draw_into
    monkeypatch.setattr(dataset, "_draw_into", lambda *all_: (begun.append(1), draw_into(*all_)))
    call = partial(embedded.draw_dataset, counts={"train": 10}, processes=1, progress=False)
    with ThreadPoolExecutor(3) as pool:
        roots = list(pool.map(call, [tmp_path / "data"] * 3))
    assert roots == [tmp_path / "data"] * 3
    assert len(begun) == 1
    assert len(list(tmp_path.glob("data/train/*/*.jpg"))) == 10


@pytest.mark.parametrize("change", [{"seed": 1}, {"counts": {"train": 30}}], ids=["seed", "counts"])
def test_other_dataset_is_refused(drawn: Path, change: dict) -> None:
    with pytest.raises(ValueError, match="is wanted; give another folder, or remove it"):
        embedded.draw_dataset(drawn, **({"counts": COUNTS} | change))


def test_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(ValueError, match="not the embedded dataset; give another folder"):
        embedded.draw_dataset(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["holiday.jpg"]
    with pytest.raises(ValueError, match="is a file"):
        embedded.draw_dataset(tmp_path / "holiday.jpg")


def test_incomplete_folder_is_refused(drawn: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(drawn, copy)
    (copy / "dataset.json").unlink()
    with pytest.raises(ValueError, match="not the embedded dataset"):
        embedded.draw_dataset(copy, counts=COUNTS)


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    embedded.draw_dataset(root, counts={"test": 10}, processes=1, progress=False)
    assert len(list(root.glob("test/*/*.jpg"))) == 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda root: embedded.draw_dataset(root, counts={"training": 10}), "counts is"),
        (lambda root: embedded.draw_dataset(root, counts={}), "counts is"),
        (lambda root: embedded.draw_dataset(root, seed=-1), "must not be negative"),
        (lambda root: embedded.draw_image(0, "valid", 0), "no split 'valid'"),
        (lambda root: embedded.draw_image(0, "val", -1), "must not be negative"),
    ],
)
def test_arguments_are_checked(call, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call(tmp_path / "data")


def test_drawing_imports_nothing_heavy() -> None:
    heavy = {"torch", "torchvision", "lightning", "hydra", "matplotlib"}
    for file in Path(embedded.__file__).parent.rglob("*.py"):
        imported = {
            line.split()[1].split(".")[0]
            for line in file.read_text().splitlines()
            if line.strip().startswith(("import ", "from "))
        }
        assert not imported & heavy, file
