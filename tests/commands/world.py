"""What the documented commands name, small: pictures, datasets, weights, landmarks, a run."""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

from tests.commands.forked import run_forked
from tests.conftest import write_images
from tests.data.voc_files import voc
from zf_lightning.embedded import draw_dataset

COUNTS = {"train": 20, "val": 10, "test": 10}
WNIDS = ("n01440764", "n01443537", "n01484850")
#: With the folders that are no classes, as torchvision unpacks them.
CATEGORIES = ("BACKGROUND_Google", "Faces", "Leopards")
OBJECTS = ("001.ak47", "002.flag", "257.clutter")
#: A run of one step for each split, on the dataset that is drawn once.
SHORT = [
    "scheduler.epochs=1",
    *(f"trainer.limit_{split}_batches=1" for split in COUNTS),
    "data.batch_size=8",
    "data.workers=0",
]
EMBEDDED = "data.images={" + ",".join(f"{split}:{count}" for split, count in COUNTS.items()) + "}"
SMALL = ["model.width=0.05", "model.input_size=70"]


def make_world(root: Path) -> Path:
    """Write all but the weights below `root`, and train the run that `ckpt` names."""
    data = root / "data"
    draw_dataset(data / "embedded", counts=COUNTS, processes=1, progress=False)
    classes(root / "pictures", ("red", "green", "blue"), 20)
    write_images(root / "few", 2, hue=1)
    # 30 training images a class, and 60, and some to test on.
    classes(data / "caltech101" / "101_ObjectCategories", CATEGORIES, 40)
    classes(data / "caltech256" / "256_ObjectCategories", OBJECTS, 63)
    for split, count in (("train", 6), ("val", 3)):
        classes(data / "imagenette2" / split, WNIDS, count)
        classes(root / "imagenet" / split, WNIDS, count)
    for year in (2007, 2012):
        voc(data / "VOCdevkit" / f"VOC{year}", test=year == 2007)
    landmarks(root / "dogs")
    with Image.open(root / "few" / "000.png") as picture:
        picture.save(root / "photo.jpg")
    two = [option for option in SHORT if not option.startswith("scheduler")]
    options = [f"paths.data={data}", EMBEDDED, *two, *SMALL, "scheduler.epochs=2"]
    run_forked(root, [*options, "hydra.run.dir=run"])
    return root


def make_weights(root: Path) -> None:
    """Write the weights that commands name; large, and few commands need them."""
    import timm

    torch.manual_seed(0)
    for name in ("squeezenet1_0", "resnet18"):
        weights = torchvision.models.get_model(name).state_dict()
        save_file(weights, root / f"{name}.safetensors")
        weights = torchvision.models.get_model(name, num_classes=len(WNIDS)).state_dict()
        save_file(weights, root / f"{name}_imagenet.safetensors")
    name = "test_convnext.r160_in1k"
    save_file(timm.create_model(name).state_dict(), root / f"{name}.safetensors")


def classes(folder: Path, names: Sequence[str], count: int) -> None:
    """A folder of images for each class."""
    for number, name in enumerate(names):
        write_images(folder / name, count, hue=number)


def landmarks(folder: Path) -> None:
    """Three images, with the places of two parts."""
    write_images(folder, 3, hue=0)
    with (folder / "landmarks.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "nose_x", "nose_y", "eye_x", "eye_y"])
        for number in range(3):
            writer.writerow([f"{number:03}.png", 20, 20 + number, 30, 12])


def link(world: Path, folder: Path) -> None:
    """The files that commands name as they lie in the folder where they are typed."""
    for name in ("photo.jpg", "squeezenet1_0.safetensors", "dogs"):
        (folder / name).symlink_to(world / name)
    categories = world / "data" / "caltech101" / "101_ObjectCategories"
    (folder / categories.name).symlink_to(categories)


def copy_run(world: Path, folder: Path) -> None:
    """A run of the user's own under `outputs/`."""
    shutil.copytree(world / "run", folder / "outputs" / "train" / "2026-01-01_00-00-00")
