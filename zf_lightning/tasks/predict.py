"""task=predict: the five most probable classes of images without labels.

`predictions.txt` is what ImageNet's evaluation server takes: for each image, in the alphabetical
order of the file names, a line with up to five class numbers, the most probable first. For the
challenge of 2012 the numbers are the devkit's ILSVRC2012_ID, 1 to 1000.
"""

import csv
import itertools
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from tqdm import tqdm

from zf_lightning.data import LabelledFiles, image_names
from zf_lightning.data.summary import report_files
from zf_lightning.errors import UserError
from zf_lightning.inspection.subject import (
    check_classes,
    configuration_to_inspect,
    file_loader,
    trained_networks,
)
from zf_lightning.results.result import write_result
from zf_lightning.system.devices import chosen_device
from zf_lightning.training import build as assembly
from zf_lightning.training.checkpoint import check_same_classes
from zf_lightning.training.ensemble import Ensemble
from zf_lightning.training.module import ImageClassifier
from zf_lightning.training.provenance import record_run

log = logging.getLogger(__name__)

#: Classes that the challenge takes for an image.
GUESSES = 5


def run(config: DictConfig) -> dict[str, Any]:
    """Classify every image below `predict.root`; returns the contents of `result.json`.

    Several checkpoints are an ensemble. Raises UserError without images, or where the devkit's
    numbers are asked for and unknown.
    """
    options = config.predict
    if options.root is None:
        raise UserError("task=predict needs predict.root=FOLDER with images.")
    root = Path(options.root).expanduser()
    ignored: Counter[str] = Counter()
    names = sorted(image_names(root, ignored=ignored), key=lambda name: (Path(name).name, name))
    if not names:
        raise UserError(f"predict.root={root} is not a folder with images.")
    networks = trained_networks(config)
    paths, members = [path for path, _ in networks], [one for _, one in networks]
    class_names = members[0].class_names
    for path, member in networks:
        check_same_classes(path, known=member.class_names, found=class_names)
    numbers = class_numbers(config, paths[0], members[0])
    folder = Path(config.paths.run)
    record_run(config, folder)
    report_files(f"predict.root={root}", [root / name for name in names], ignored, folder)
    _predict(config, Ensemble(members).eval(), root, names, numbers, class_names)
    result = {
        "task": "predict",
        "weights" if config.ckpt is None else "ckpt": list(map(str, paths)),
        "images": len(names),
        "crops": options.crops,
        "class_ids": options.class_ids,
    }
    write_result(folder, result)
    log.info(f"{len(names):,} images: {folder / 'predictions.txt'}, and with names predictions.csv")
    return result


def class_numbers(config: DictConfig, path: Path, classifier: ImageClassifier) -> list[int]:
    """The number of each class in the predictions, in the order of the labels.

    Raises UserError where the devkit's numbers are asked for and the data lacks them.
    """
    choice = config.predict.class_ids
    if choice == "position":
        return list(range(1, len(classifier.class_names) + 1))
    source = assembly.build_source(configuration_to_inspect(config))
    check_classes(config, path, classifier, source.class_names)
    found = getattr(source, "devkit_ids", None)
    if found is None:
        raise UserError(
            "predict.class_ids=devkit needs ImageNet with its devkit: add data=imagenet "
            "data.root=FOLDER with ILSVRC2012_devkit_t12 in it; or number the classes by their "
            "position, predict.class_ids=position."
        )
    return list(found)


@torch.inference_mode()
def _predict(
    config: DictConfig,
    ensemble: Ensemble,
    root: Path,
    names: list[str],
    numbers: list[int],
    class_names: tuple[str, ...],
) -> None:
    loader = file_loader(config, LabelledFiles(root, names, [0] * len(names)))
    device = chosen_device(config.trainer)
    ensemble.to(device)
    guesses = min(GUESSES, len(class_names))
    folder = Path(config.paths.run)
    with (
        (folder / "predictions.txt").open("w") as lines,
        (folder / "predictions.csv").open("w", newline="") as table,
        tqdm(total=len(names), desc="predictions", unit="image") as bar,
    ):
        writer = csv.writer(table, lineterminator="\n")
        ranks = range(1, guesses + 1)
        writer.writerow(["file", *(f"{what} {n}" for n in ranks for what in ("class", "percent"))])
        for images, _, indices, _ in loader:
            one, ten = ensemble.crop_probabilities(images.to(device))
            probabilities = (ten if config.predict.crops == 10 else one).cpu()
            # Of equally probable classes the earlier comes first, as in the errors.
            order = probabilities.argsort(dim=1, descending=True, stable=True)[:, :guesses]
            for index, classes, row in zip(indices, order.tolist(), probabilities, strict=True):
                print(*(numbers[label] for label in classes), file=lines)
                cells = ((class_names[c], f"{100 * float(row[c]):.2f}") for c in classes)
                writer.writerow([names[int(index)], *itertools.chain(*cells)])
            bar.update(len(images))
