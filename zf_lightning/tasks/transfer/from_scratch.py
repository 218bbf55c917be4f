"""The row without pretraining: the same network trained on each fold alone, then tested.

By the ordinary training, in a folder of its own for each fold, so that it goes on where it was
interrupted. The paper does not say how it trained these. Here the fold's training images are all
trained on, for as many epochs as the schedule has, and the last weights are tested: no image is
held out to choose better ones, and the test images decide nothing. Tests see one centre crop, as
the frozen features do.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict
from torch.utils.data import DataLoader

from zf_lightning import assembly
from zf_lightning.analysis.transfer import Fold, Score, average_precisions, mean_class_accuracy
from zf_lightning.checkpoint import configuration_of, find_checkpoint, load_classifier
from zf_lightning.cores import available_cores
from zf_lightning.data import LabelledFiles, WholeSet
from zf_lightning.errors import UserError
from zf_lightning.instantiate import plain
from zf_lightning.module import ImageClassifier
from zf_lightning.tasks import train
from zf_lightning.tasks.transfer.tables import FROM_SCRATCH, WHOLE_NETWORK

log = logging.getLogger(__name__)

#: What a checkpoint's own configuration says of how its network is trained.
TRAINING = ("model", "ablation", "optimizer", "scheduler", "callbacks")


def score(
    config: DictConfig,
    images: WholeSet,
    folds: Mapping[int | None, Sequence[Fold]],
    path: Path,
) -> list[Score]:
    """Train and test on every fold; folds that are done are read from their folders.

    Args:
        path: the file that the folds were written to.

    Raises:
        UserError: several devices are asked for.
    """
    if config.trainer.devices not in ("auto", -1, "-1", 1, "1", [0]):
        # Each other process would run the whole task again.
        raise UserError(
            "transfer.from_scratch=true trains on one device: add trainer.devices=1, and let "
            "several machines take a fold each with different seeds."
        )
    found = []
    for per_class, several in folds.items():
        key = "split" if per_class is None else str(per_class)
        for number, fold in enumerate(several):
            folder = Path(config.paths.run) / "from_scratch" / f"{key}_fold={number}"
            folder.mkdir(parents=True, exist_ok=True)
            options = fold_configuration(config, path, key, number, folder)
            done = folder / "transfer.json"
            # What decides the outcome; where things are and what is logged does not.
            parts = ("model", "ablation", "optimizer", "scheduler", "seed")
            asked = {part: options[part] for part in parts}
            asked |= {"max_epochs": options["trainer"]["max_epochs"]}
            asked |= {"train": fold.train.tolist(), "test": fold.test.tolist()}
            if done.exists():
                stored = json.loads(done.read_text())
                if stored["asked"] == asked:
                    found.append(Score(**stored["score"]))
                    continue
            log.info(f"\nFrom scratch, {key} a class, fold {number + 1} of {len(several)}")
            train.run(OmegaConf.create(options))
            best = find_checkpoint(str(folder))
            one = _test(load_classifier(best).eval(), config, images, fold, per_class, number)
            done.write_text(json.dumps({"asked": asked, "score": vars(one)}) + "\n")
            log.info(f"From scratch, {key} a class, fold {number + 1}: {one.accuracy:.1f} %")
            found.append(one)
    return found


def fold_configuration(
    config: DictConfig, path: Path, key: str, fold: int, folder: Path
) -> dict[str, Any]:
    """The configuration of an ordinary training on a fold, as plain data."""
    overrides = list(HydraConfig.get().overrides.task)
    if config.ckpt is not None:
        checkpoint = find_checkpoint(config.ckpt)
        # How the network is run is this machine's matter.
        fast = config.callbacks.get("fast_network")
        config = configuration_of(checkpoint, config, overrides, parts=TRAINING)
        with open_dict(config):
            config.callbacks.fast_network = fast
    copied = OmegaConf.create(OmegaConf.to_yaml(config))
    assert isinstance(copied, DictConfig)
    config = copied
    with open_dict(config):
        config.paths.run = str(folder)
        config.task = {"name": "train"}
        config.ckpt = None
        config.model.weights = None
        config.sweep = config.sweep or folder.parents[1].resolve().name
        config.trainer.devices = 1
        config.data.source = {
            "_target_": "zf_lightning.data.FoldSource",
            "source": config.data.source,
            "folds": str(path),
            "per_class": key,
            "fold": fold,
        }
        # The folds have been drawn without them.
        config.data.exclude_files = None
        config.callbacks.probe = None
        if config.callbacks.get("best_checkpoint") is not None:
            # The last weights, not those that the training images would choose.
            config.callbacks.best_checkpoint.monitor = None
        if config.scheduler.monitor is None and OmegaConf.is_missing(
            config.trainer, "check_val_every_n_epoch"
        ):
            # Nothing waits for the errors on the training images.
            config.trainer.check_val_every_n_epoch = config.trainer.max_epochs
    options: dict[str, Any] = plain(config)
    return options


@torch.inference_mode()
def _test(
    classifier: ImageClassifier,
    config: DictConfig,
    images: WholeSet,
    fold: Fold,
    per_class: int | None,
    number: int,
) -> Score:
    files: LabelledFiles = images.files.subset(fold.test)
    workers = config.data.workers
    loader: DataLoader = DataLoader(
        files,
        batch_size=config.data.batch_size,
        num_workers=min(16, available_cores()) if workers is None else workers,
    )
    device = assembly.build_trainer(config, callbacks=False).strategy.root_device
    classifier.to(device)
    probabilities = torch.cat([classifier(batch.to(device)).cpu() for batch, *_ in loader]).numpy()
    labels = images.files.labels[fold.test]
    precisions = None
    if images.presence is not None:
        precisions = average_precisions(images.presence[fold.test], probabilities)
    return Score(
        layer=FROM_SCRATCH,
        classifier=WHOLE_NETWORK,
        per_class=per_class,
        fold=number,
        accuracy=mean_class_accuracy(labels, probabilities.argmax(1).astype(numpy.int64)),
        average_precisions=precisions,
        strength=None,
        cross_validated=False,
        train_images=len(fold.train),
        test_images=len(fold.test),
    )
