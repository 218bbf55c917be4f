"""Classifiers on frozen layers: one forward pass of every image serves all layers and folds."""

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning
import torch
from filelock import FileLock
from omegaconf import DictConfig
from tqdm import tqdm

from zf_lightning.analysis.transfer import (
    FeatureCache,
    Fold,
    Readings,
    Score,
    ScoreFile,
    evaluate,
)
from zf_lightning.analysis.transfer.classifiers import PARTS, STRENGTHS
from zf_lightning.analysis.transfer.features import Filling
from zf_lightning.callbacks.first_failure import told_how_it_ends
from zf_lightning.config.options import names_of
from zf_lightning.data import Batch, LabelledFiles, WholeSet
from zf_lightning.inspection.image_pass import ImagePass, check_readable, pass_loader
from zf_lightning.system.cores import available_cores
from zf_lightning.system.digests import digest_of, digest_of_weights
from zf_lightning.system.processes import is_first_process
from zf_lightning.tasks.transfer.tables import Frozen
from zf_lightning.training.module import ImageClassifier

log = logging.getLogger(__name__)

#: Part of the cache's key: changes when the features or their files do.
VERSION = 1
#: On a CPU, feature maps of more images leave its caches, and their memory is allocated anew for
#: every layer: SqueezeNet on 128 images takes twice as long.
IMAGES_AT_ONCE = 8


def score(
    config: DictConfig,
    classifier: ImageClassifier,
    images: WholeSet,
    folds: Mapping[int | None, Sequence[Fold]],
    *,
    classes: int,
    classifiers: Sequence[str],
    trainer: lightning.Trainer,
) -> Frozen | None:
    """Compute the features of every image's centre crop, and score the classifiers on them.

    On all processes of `trainer`; the first of them scores, the others have None.

    Raises UserError for layers that do not exist, or too little disk for the features.
    """
    transfer = config.transfer
    chosen = names_of(transfer.layers, option="transfer.layers")
    whole = chosen[0] if chosen in (["all"], ["last"]) else chosen
    readings = Readings(classifier.network, whole, pooled_size=transfer.pooled_size)
    network = classifier.network
    weights = digest_of_weights(network, classifier.preprocessing, also=repr(network))
    what = json.dumps([VERSION, images.files.content_key(), weights, transfer.pooled_size])
    key = digest_of([what])[:16]
    cache = FeatureCache(Path(config.paths.cache) / f"features-{key}", images=len(images.files))
    cache.folder.mkdir(parents=True, exist_ok=True)
    # Jobs of a sweep may want the same features: one computes them, the others wait.
    # The other processes of this run belong to the first.
    lock = FileLock(cache.folder / "lock") if trainer.is_global_zero else nullcontext()
    with lock:
        _extract(config, classifier, readings, images, cache, trainer=trainer)
    if not trainer.is_global_zero:
        return None
    dimensions = {layer: cache.layer(layer).dimensions for layer in readings.layers}
    for layer, place in readings.places.items():
        log.info(f"  {layer}: {dimensions[layer]:,} features, read at {place}")
    every = [fold for several in folds.values() for fold in several]
    drawn = [part.tobytes() for fold in every for part in (fold.train, fold.test)]
    experiment = [what, digest_of(drawn), transfer.class_weight, config.seed, STRENGTHS, PARTS]
    scores = ScoreFile(Path(config.paths.run) / "scores.jsonl", experiment=json.dumps(experiment))
    total = len(readings.layers) * len(classifiers) * len(every)
    with tqdm(total=total, desc="classifiers", disable=not is_first_process()) as bar:

        def progress(one: Score) -> None:
            bar.set_postfix_str(f"{one.layer} {one.classifier} {one.accuracy:.1f} %")
            bar.update()

        found = evaluate(
            cache,
            readings.layers,
            images.files.labels,
            folds,
            scores,
            classes=classes,
            classifiers=classifiers,
            class_weight=transfer.class_weight,
            present=images.presence,
            seed=config.seed,
            jobs=available_cores(),
            progress=progress,
        )
    return Frozen(
        model=classifier.hparams["model"]["name"],
        scores=found,
        places=readings.places,
        dimensions=dimensions,
    )


class FeaturePass(ImagePass):
    """Reads the layers of every image, and fills the cache on the first process."""

    def __init__(
        self,
        classifier: ImageClassifier,
        readings: Readings,
        filling: Filling,
        files: LabelledFiles,
        *,
        batch_size: int,
    ) -> None:
        super().__init__()
        self.classifier, self.readings, self.filling = classifier, readings, filling
        self.files, self.batch_size = files, batch_size

    def on_validation_start(self) -> None:
        """The layout of weights that a CPU is fastest with."""
        if self.device.type == "cpu":
            self.batch_size = IMAGES_AT_ONCE
            self.classifier.network.to(memory_format=torch.channels_last)

    def take(self, batch: Batch) -> None:
        """Write the features of a batch in the order of the images."""
        check_readable(batch, self.files)
        parts = [
            self.readings(self.classifier.preprocessing(part))
            for part in batch.images.split(self.batch_size)
        ]
        found = {layer: torch.cat([part[layer] for part in parts]) for layer in parts[0]}
        valid = batch.valid
        if self.trainer.world_size > 1:
            # The images were dealt in turn.
            gathered: Any = self.all_gather({"valid": valid.long(), **found})
            flat = {name: value.transpose(0, 1).flatten(0, 1) for name, value in gathered.items()}
            valid, found = flat.pop("valid").bool(), flat
        if self.trainer.is_global_zero:
            self.filling.add({layer: rows[valid] for layer, rows in found.items()})


def _extract(
    config: DictConfig,
    classifier: ImageClassifier,
    readings: Readings,
    images: WholeSet,
    cache: FeatureCache,
    *,
    trainer: lightning.Trainer,
) -> None:
    if cache.complete(readings.layers):
        log.info(f"Features of {', '.join(readings.layers)} from {cache.folder}")
        return
    filling = cache.filling(readings.layers)
    start, total = filling.done, len(images.files)
    log.info(
        f"Reading {', '.join(readings.layers)} of {total:,} images into {cache.folder}"
        + (f", from image {start:,} on" if start else "")
    )
    files = images.files.subset(range(start, total))
    features = FeaturePass(classifier, readings, filling, files, batch_size=config.data.batch_size)
    with told_how_it_ends(trainer, Path(config.paths.run)):
        features.run(trainer, pass_loader(config, files, trainer))
    assert not trainer.is_global_zero or filling.done == total
