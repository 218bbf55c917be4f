"""ImageNet's layouts, drawn on the disk: labels agree however the images lie."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision.models import AlexNet_Weights

from tests.conftest import Compose
from zf_lightning.data import ImageDataModule, ImageNetSource
from zf_lightning.data.sources import imagenet_labels
from zf_lightning.errors import UserError
from zf_lightning.training import build as assembly

#: wnid, ILSVRC2012_ID, words: the devkit's order is not that of the wnids.
CLASSES = [
    ("n01440764", 3, "tench, Tinca tinca"),
    ("n02012849", 1, "crane"),
    ("n02102040", 4, "English springer, English springer spaniel"),
    ("n03126707", 2, "crane"),
]
#: Class by ILSVRC2012_ID of the validation images 1 to 6.
TRUTH = [2, 4, 1, 3, 3, 2]
WNID_OF = {number: wnid for wnid, number, _ in CLASSES}


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20)).save(path, format="JPEG")


def train(root: Path) -> None:
    for wnid, _, _ in CLASSES:
        for number in range(3):
            picture(root / "train" / wnid / f"{wnid}_{number}.JPEG")


def flat(root: Path) -> None:
    for number in range(1, len(TRUTH) + 1):
        picture(root / "val" / f"ILSVRC2012_val_{number:08}.JPEG")


def sorted_into_folders(root: Path) -> None:
    for number, identifier in enumerate(TRUTH, start=1):
        picture(root / "val" / WNID_OF[identifier] / f"ILSVRC2012_val_{number:08}.JPEG")


def devkit(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    fields = [
        ("ILSVRC2012_ID", "O"),
        ("WNID", "O"),
        ("words", "O"),
        ("gloss", "O"),
        ("num_children", "O"),
    ]
    rows = sorted((number, wnid, words, "what it is", 0) for wnid, number, words in CLASSES)
    rows.append((5, "n00001740", "entity", "a group of classes", 2))
    savemat(folder / "meta.mat", {"synsets": numpy.array(rows, dtype=fields)})
    lines = "\n".join(map(str, TRUTH))
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text(lines + "\n")


def packed_devkit(folder: Path) -> None:
    devkit(folder / "unpacked")
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as archive:
        for file in (folder / "unpacked").iterdir():
            archive.add(file, f"ILSVRC2012_devkit_t12/data/{file.name}")
            file.unlink()


def kaggle_lists(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    rows = [
        f"ILSVRC2012_val_{number:08},{WNID_OF[identifier]} 1 2 30 40 "
        for number, identifier in reversed(list(enumerate(TRUTH, start=1)))
    ]
    (root / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows]))
    lines = [f"{wnid} {words}" for wnid, _, words in CLASSES]
    (root / "LOC_synset_mapping.txt").write_text("\n".join(lines) + "\n")


def by_number(source: ImageNetSource) -> dict[str, str]:
    """The wnid of each validation image."""
    files = source.split("val")
    return {
        Path(name).stem[-8:]: source.class_ids[label]
        for name, label in zip(files.names, files.labels, strict=True)
    }


EXPECTED = {f"{number:08}": WNID_OF[identifier] for number, identifier in enumerate(TRUTH, start=1)}
NAMES = ("tench", "crane (n02012849)", "English springer", "crane (n03126707)")


@pytest.mark.parametrize("place", ["", "ILSVRC2012_devkit_t12/data", "devkit/data", "data", "tar"])
def test_flat_validation_images_with_the_devkit(place: str, tmp_path: Path) -> None:
    train(tmp_path)
    flat(tmp_path)
    packed_devkit(tmp_path) if place == "tar" else devkit(tmp_path / place)
    source = ImageNetSource(tmp_path)
    assert source.class_ids == tuple(wnid for wnid, _, _ in CLASSES)
    assert by_number(source) == EXPECTED
    assert source.class_names == NAMES
    assert source.devkit_ids == (3, 1, 4, 2)
    assert len(source.split("train")) == 12
    assert source.split("test") is source.split("val")


def test_validation_images_in_folders_are_the_same_set(tmp_path: Path) -> None:
    train(tmp_path / "a")
    flat(tmp_path / "a")
    devkit(tmp_path / "a")
    train(tmp_path / "b")
    sorted_into_folders(tmp_path / "b")
    first, second = ImageNetSource(tmp_path / "a"), ImageNetSource(tmp_path / "b")
    assert by_number(first) == by_number(second) == EXPECTED
    assert first.split("val").labels.tolist() == second.split("val").labels.tolist()
    # Of these, torchvision knows two names.
    assert second.class_names == ("tench", "n02012849", "English springer", "n03126707")
    assert second.devkit_ids is None


@pytest.mark.parametrize("in_folders", [False, True])
def test_validation_images_alone_are_enough_to_test_a_network(
    in_folders: bool, tmp_path: Path
) -> None:
    (sorted_into_folders if in_folders else flat)(tmp_path)
    devkit(tmp_path)
    source = ImageNetSource(tmp_path)
    assert by_number(source) == EXPECTED
    # All classes that the devkit knows, with or without images.
    assert source.class_names == NAMES
    assert not len(source.split("train"))
    data = ImageDataModule(source, batch_size=2)
    with pytest.raises(UserError, match="no images of the split train"):
        data.train_dataloader()


def test_kaggles_folder(tmp_path: Path) -> None:
    train(tmp_path / "ILSVRC" / "Data" / "CLS-LOC")
    flat(tmp_path / "ILSVRC" / "Data" / "CLS-LOC")
    kaggle_lists(tmp_path)
    source = ImageNetSource(tmp_path)
    assert by_number(source) == EXPECTED and source.class_names == NAMES
    assert source.split("val").path(0).is_file() and source.split("train").path(0).is_file()


def test_a_list_of_wnids_needs_no_devkit(tmp_path: Path) -> None:
    train(tmp_path)
    flat(tmp_path)
    lines = "\n".join(WNID_OF[identifier] for identifier in TRUTH)
    (tmp_path / "ILSVRC2012_validation_ground_truth.txt").write_text(lines)
    assert by_number(ImageNetSource(tmp_path)) == EXPECTED


def test_a_part_of_the_validation_images_keeps_its_labels(tmp_path: Path) -> None:
    train(tmp_path)
    flat(tmp_path)
    devkit(tmp_path)
    (tmp_path / "val" / "ILSVRC2012_val_00000002.JPEG").unlink()
    left = {number: wnid for number, wnid in EXPECTED.items() if number != "00000002"}
    assert by_number(ImageNetSource(tmp_path)) == left


def test_classes_can_be_left_out_and_training_images_limited(tmp_path: Path) -> None:
    train(tmp_path)
    flat(tmp_path)
    devkit(tmp_path)
    source = ImageNetSource(tmp_path, exclude=["n02012849"], train_per_class=2)
    assert source.class_names == ("tench", "English springer", "crane")
    assert numpy.bincount(source.split("train").labels).tolist() == [2, 2, 2]
    assert set(by_number(source).values()) == set(EXPECTED.values()) - {"n02012849"}


def test_the_thousand_classes_have_torchvisions_names(monkeypatch: pytest.MonkeyPatch) -> None:
    # The true wnids are not kept here: 1,000 others take their part.
    wnids = [f"n{number:08}" for number in range(1000)]
    digest = hashlib.sha256("\n".join(wnids).encode()).hexdigest()
    monkeypatch.setattr(imagenet_labels, "STANDARD_WNIDS", digest)
    categories = AlexNet_Weights.IMAGENET1K_V1.meta["categories"]
    words = {wnid: "something else" for wnid in wnids}
    assert imagenet_labels.shown_names(wnids, words) == tuple(categories)
    assert len(set(categories)) == 1000
    assert imagenet_labels.shown_names(wnids[1:], {}) == tuple(wnids[1:])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: (root / "meta.mat").unlink(), "put the devkit's meta.mat beside it"),
        (lambda root: (root / "meta.mat").write_text("no"), "meta.mat is not as expected"),
        (
            lambda root: (root / "ILSVRC2012_validation_ground_truth.txt").unlink(),
            "nothing in .* says what they show",
        ),
        (
            lambda root: (root / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n9\n"),
            "line 2: 9 is not a class",
        ),
        (
            lambda root: (root / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n2\n"),
            "There is no label for .*00000003",
        ),
        (lambda root: picture(root / "val" / "holiday.jpg"), r"no label for .*holiday\.jpg"),
        (
            lambda root: (root / "train" / "n02012849").rename(root / "n02012849"),
            "class n02012849, which has no training images",
        ),
        (lambda root: (root / "val").rename(root / "other"), "no folders train and val"),
        (
            lambda root: picture(root / "val" / "n9" / "a.JPEG"),
            "folders and 6 beside them",
        ),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(spoil, words: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    train(tmp_path)
    flat(tmp_path)
    devkit(tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError, match=words) as mistake:
        ImageNetSource(tmp_path).prepare()
    assert "\n" not in mistake.value.sentence


def test_archives_are_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "ILSVRC2012_img_train.tar").write_bytes(b"")
    with pytest.raises(UserError, match="torchvision unpacks them"):
        ImageNetSource(tmp_path).prepare()
    (tmp_path / "train").mkdir()
    (tmp_path / "val").mkdir()
    (tmp_path / "train" / "n01440764.tar").write_bytes(b"")
    with pytest.raises(UserError, match="an archive of each class"):
        ImageNetSource(tmp_path).prepare()
    (tmp_path / "train" / "n01440764.tar").unlink()
    (tmp_path / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(b"not an archive")
    with pytest.raises(UserError, match="cannot be read as an archive"):
        ImageNetSource(tmp_path).prepare()
    with tarfile.open(tmp_path / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("readme.txt"), io.BytesIO())
    with pytest.raises(UserError, match="no class folders"):
        ImageNetSource(tmp_path).prepare()


def test_it_is_what_data_imagenet_asks_for(tmp_path: Path, compose_config: Compose) -> None:
    train(tmp_path)
    sorted_into_folders(tmp_path)
    source = assembly.build_source(compose_config("data=imagenet", f"data.root={tmp_path}"))
    assert isinstance(source, ImageNetSource) and len(source.class_names) == 4
