"""task=predict: the five most probable classes of images without labels.

`predictions.txt` is what ImageNet's evaluation server takes: for each image, in the alphabetical
order of the file names, a line with up to five class numbers, the most probable first. For the
challenge of 2012 the numbers are the devkit's ILSVRC2012_ID, 1 to 1000.
"""

import csv
import itertools
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from zf_lightning.callbacks.first_failure import told_how_it_ends
from zf_lightning.data import Batch, LabelledFiles, image_names
from zf_lightning.data.summary import report_files
from zf_lightning.errors import UserError
from zf_lightning.inspection.image_pass import (
    MetricPass,
    RowsByImage,
    check_readable,
    pass_loader,
)
from zf_lightning.inspection.subject import (
    check_classes,
    configuration_to_inspect,
    trained_networks,
)
from zf_lightning.results.result import write_result
from zf_lightning.system.digests import digest_of, digest_of_weights
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
    trainer = assembly.build_inspection_trainer(config)
    networks = trained_networks(config)
    paths, members = [path for path, _ in networks], [one for _, one in networks]
    class_names = members[0].class_names
    for path, member in networks:
        check_same_classes(path, known=member.class_names, found=class_names)
    numbers = class_numbers(config, paths[0], members[0])
    folder = Path(config.paths.run)
    if trainer.is_global_zero:
        record_run(config, folder)
        report_files(f"predict.root={root}", [root / name for name in names], ignored, folder)
    files = LabelledFiles(root, names, [0] * len(names))
    found = PredictPass(Ensemble(members).eval(), files, config, classes=len(class_names))
    with told_how_it_ends(trainer, folder):
        found.run(trainer, pass_loader(config, files, trainer))
    if not trainer.is_global_zero:
        return {}
    _write(config, found, names, numbers, class_names)
    found.file.unlink()
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


class PredictPass(MetricPass):
    """The most probable classes of each image, and their probabilities: a row of both."""

    def __init__(
        self, ensemble: Ensemble, files: LabelledFiles, config: DictConfig, *, classes: int
    ) -> None:
        guesses = min(GUESSES, classes)
        folder = Path(config.paths.run)
        parts = [files.content_key(), config.predict.crops, config.data.batch_size]
        super().__init__(
            RowsByImage(2 * guesses),
            file=folder / "predictions.safetensors",
            key=digest_of([digest_of_weights(ensemble), json.dumps(parts)]),
            kind="predictions",
            other=f"{folder} contains unfinished predictions of other networks or images, or with "
            "another predict.crops or data.batch_size: give the same again, or another folder.",
        )
        self.guesses = guesses
        self.ensemble, self.files, self.crops = ensemble, files, config.predict.crops

    def take(self, batch: Batch) -> None:
        """Classify a batch."""
        check_readable(batch, self.files)
        one, ten = self.ensemble.crop_probabilities(batch.images)
        probabilities = (ten if self.crops == 10 else one)[batch.valid]
        # Of equally probable classes the earlier comes first, as in the errors.
        classes = probabilities.argsort(dim=1, descending=True, stable=True)[:, : self.guesses]
        rows = torch.cat([classes.float(), probabilities.gather(1, classes).float()], 1)
        self.metric.update(batch.indices[batch.valid], rows)


def _write(
    config: DictConfig,
    found: PredictPass,
    names: list[str],
    numbers: list[int],
    class_names: tuple[str, ...],
) -> None:
    folder, guesses = Path(config.paths.run), found.guesses
    with (
        (folder / "predictions.txt").open("w") as lines,
        (folder / "predictions.csv").open("w", newline="") as table,
    ):
        writer = csv.writer(table, lineterminator="\n")
        ranks = range(1, guesses + 1)
        writer.writerow(["file", *(f"{what} {n}" for n in ranks for what in ("class", "percent"))])
        for index, row in zip(*found.found, strict=True):
            classes = row[:guesses].astype(int).tolist()
            print(*(numbers[label] for label in classes), file=lines)
            cells = zip((class_names[c] for c in classes), row[guesses:].tolist(), strict=True)
            texts = ((name, f"{100 * probability:.2f}") for name, probability in cells)
            writer.writerow([names[index], *itertools.chain(*texts)])
