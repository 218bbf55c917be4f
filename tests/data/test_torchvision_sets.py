"""Datasets as torchvision lays them out, drawn on the disk; downloads are only asked for."""

from pathlib import Path
from typing import Any

import numpy
import pytest
from torchvision import datasets

from tests.conftest import Compose, write_images
from tests.data.voc_files import annotate, box, voc
from zf_lightning.data import ImageSource, TorchvisionFolders, VocSource
from zf_lightning.data.sources import torchvision_folders
from zf_lightning.data.sources.voc import ABSENT, CLASSES, DIFFICULT, PRESENT
from zf_lightning.errors import UserError
from zf_lightning.training import build as assembly


def caltech101(root: Path) -> None:
    for hue, name in enumerate(("BACKGROUND_Google", "Faces_easy", "accordion")):
        write_images(root / name, 5, hue=hue)


def caltech256(root: Path) -> None:
    for hue, name in enumerate(("001.ak47", "056.dog", "257.clutter")):
        write_images(root / name, 5, hue=hue)
    # What the archive has besides.
    write_images(root / "056.dog" / "greg" / "vision309", 2, hue=0)
    (root / "056.dog" / "RENAME2").write_text("a script")


def imagenette(root: Path) -> None:
    for split in ("train", "val"):
        for hue, name in enumerate(("n01440764", "n02102040")):
            write_images(root / split / name, 3, hue=hue)


LAID_OUT = {
    "caltech101": (
        caltech101,
        ("caltech101/101_ObjectCategories", "101_ObjectCategories", ""),
        ("Faces_easy", "accordion"),
    ),
    "caltech256": (
        caltech256,
        ("caltech256/256_ObjectCategories", "256_ObjectCategories", ""),
        ("ak47", "dog"),
    ),
    "imagenette": (
        imagenette,
        ("imagenette2", "imagenette2-320", "imagenette2-160", ""),
        ("tench", "English springer"),
    ),
}
CASES = [(name, place) for name, (_, places, _) in LAID_OUT.items() for place in places]


def composed(compose_config: Compose, name: str, root: Path, *more: str) -> ImageSource:
    return assembly.build_source(compose_config(f"data={name}", f"data.root={root}", *more))


@pytest.mark.parametrize(("name", "place"), CASES)
def test_it_is_found_where_it_lies(
    name: str, place: str, tmp_path: Path, compose_config: Compose
) -> None:
    draw, _, class_names = LAID_OUT[name]
    draw(tmp_path / "sets" / place)
    source = composed(compose_config, name, tmp_path / "sets")
    assert tuple(source.class_names) == class_names
    splits = [source.split(split) for split in ("train", "val", "test")]
    assert [len(files) for files in splits] == ([6, 6, 6] if name == "imagenette" else [6, 2, 2])
    assert all(files.path(0).is_file() for files in splits)


@pytest.mark.parametrize("name", LAID_OUT)
def test_it_is_downloaded_where_it_is_not(
    name: str, tmp_path: Path, compose_config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, places, class_names = LAID_OUT[name]
    # Another dataset in the same folder is not mistaken for it.
    imagenette(tmp_path / "data" / "embedded")
    with pytest.raises(UserError, match=rf"no {name} in .*data\.download=true downloads it"):
        composed(compose_config, name, tmp_path / "data").prepare()
    asked: list[dict[str, Any]] = []

    def fetch(root: Path, **options: Any) -> None:
        asked.append(options)
        draw(Path(root) / places[0])

    kind = {"imagenette": "Imagenette", "caltech101": "Caltech101", "caltech256": "Caltech256"}
    monkeypatch.setattr(datasets, kind[name], fetch)
    source = composed(compose_config, name, tmp_path / "data", "data.download=true")
    assert asked[0]["download"] is True
    assert tuple(source.class_names) == class_names
    composed(compose_config, name, tmp_path / "data", "data.download=true")
    assert len(asked) == 1


def test_a_download_that_fails_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(datasets, "Caltech101", unreachable)
    with pytest.raises(UserError, match=r"could not be downloaded \(no route to host\)"):
        TorchvisionFolders(tmp_path, dataset="caltech101", download=True).prepare()


def test_the_clutter_can_be_kept_and_classes_left_out(
    tmp_path: Path, compose_config: Compose
) -> None:
    root = tmp_path / "sets"
    caltech101(root)
    kept = composed(compose_config, "caltech101", root, "data.exclude=[]")
    assert kept.class_names[0] == "BACKGROUND_Google"
    with pytest.raises(UserError, match="accordeon"):
        composed(compose_config, "caltech101", root, "data.exclude=[accordeon]")


def test_a_copy_without_the_clutter_is_fine(tmp_path: Path, compose_config: Compose) -> None:
    for hue, name in enumerate(("001.ak47", "056.dog")):
        write_images(tmp_path / "sets" / name, 5, hue=hue)
    assert composed(compose_config, "caltech256", tmp_path / "sets").class_names == ("ak47", "dog")


def test_two_folders_of_one_name_keep_their_numbers() -> None:
    shown = torchvision_folders.LAYOUTS["caltech256"].shown
    assert shown(("001.dog", "002.dog")) == ("001.dog", "002.dog")


@pytest.mark.parametrize("place", ["VOCdevkit/VOC2012", "VOC2012", ""])
def test_vocs_labels_and_table(place: str, tmp_path: Path, compose_config: Compose) -> None:
    voc(tmp_path / place)
    source = composed(compose_config, "voc2012", tmp_path)
    assert isinstance(source, VocSource) and source.class_names == tuple(CLASSES)
    assert len(CLASSES) == 20
    train = source.split("train")
    assert [CLASSES[label] for label in train.labels] == ["dog", "tvmonitor", "sofa"]
    number = CLASSES.index
    assert train.presence.shape == (3, 20)
    assert [train.presence[0, number(name)] for name in ("person", "dog", "cat", "sofa")] == [
        PRESENT,
        PRESENT,
        DIFFICULT,
        ABSENT,
    ]
    # Present once and difficult once is present.
    assert train.presence[1, number("tvmonitor")] == PRESENT
    assert train.presence[2].tolist() == [DIFFICULT * (name == "sofa") for name in CLASSES]
    assert [CLASSES[label] for label in source.split("val").labels] == ["dog"]
    assert source.split("test") is source.split("val")
    assert train[0][0].shape == (3, 256, 256)
    some = train.subset([2, 0])
    assert some.names[0] == "JPEGImages/a3.jpg" and some.presence[1, number("cat")] == DIFFICULT


def test_vocs_test_set_is_used_where_it_is_annotated(
    tmp_path: Path, compose_config: Compose
) -> None:
    voc(tmp_path / "VOC2007", test=True)
    source = composed(compose_config, "voc2007", tmp_path, "data.image_sets.train=trainval")
    assert [len(source.split(split)) for split in ("train", "val", "test")] == [4, 1, 2]
    for file in (tmp_path / "VOC2007" / "Annotations").glob("c*.xml"):
        file.unlink()
    source = composed(compose_config, "voc2007", tmp_path)
    assert source.split("test") is source.split("val")


def test_voc_is_downloaded_where_it_is_not(
    tmp_path: Path, compose_config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def fetch(root: Path, *, year: str, image_set: str, download: bool) -> None:
        asked.append((year, image_set))
        if image_set == "trainval":
            voc(Path(root) / "VOCdevkit" / f"VOC{year}")

    monkeypatch.setattr("zf_lightning.data.sources.voc.VOCDetection", fetch)
    for year in ("2012", "2007"):
        with pytest.raises(UserError, match=rf"no PASCAL VOC {year}"):
            composed(compose_config, f"voc{year}", tmp_path / "data")
        composed(compose_config, f"voc{year}", tmp_path / "data", "data.download=true")
    assert asked == [("2012", "trainval"), ("2007", "trainval"), ("2007", "test")]


def test_vocs_training_images_can_be_limited(tmp_path: Path, compose_config: Compose) -> None:
    voc(tmp_path)
    annotate(tmp_path, "a3", box("dog", 7))
    source = composed(compose_config, "voc2012", tmp_path, "data.train_per_class=1")
    labels = source.split("train").labels
    assert numpy.bincount(labels).max() == 1 and len(labels) == 2
    assert len(source.split("train").presence) == 2


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: annotate(root, "a2"), "names no object, so that a2 has no label"),
        (lambda root: annotate(root, "a2", box("unicorn", 3)), "not an annotation"),
        (lambda root: (root / "Annotations" / "a2.xml").unlink(), "not an annotation"),
        (lambda root: (root / "Annotations" / "a2.xml").write_text("<a"), "not an annotation"),
        (lambda root: (root / "ImageSets/Main/val.txt").unlink(), "no image set val"),
        (lambda root: (root / "ImageSets/Main/val.txt").write_text("\n"), "lists no images"),
    ],
)
def test_what_voc_lacks_is_named(spoil: Any, words: str, tmp_path: Path) -> None:
    voc(tmp_path)
    spoil(tmp_path)
    sets = {"train": "train", "val": "val", "test": "test"}
    with pytest.raises(UserError, match=words):
        VocSource(tmp_path, year=2012, image_sets=sets).prepare()
