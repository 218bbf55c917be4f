"""Classifiers on frozen layers: one forward pass of every image serves all layers and folds."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from filelock import FileLock
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import Subset
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
from zf_lightning.config.options import names_of
from zf_lightning.data import WholeSet
from zf_lightning.inspection.subject import file_loader
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
    device: torch.device,
) -> Frozen:
    """Compute the features of every image's centre crop, and score the classifiers on them.

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
    with FileLock(cache.folder / "lock"):
        _extract(config, classifier, readings, images, cache, device=device)
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


def _extract(
    config: DictConfig,
    classifier: ImageClassifier,
    readings: Readings,
    images: WholeSet,
    cache: FeatureCache,
    *,
    device: torch.device,
) -> None:
    if cache.complete(readings.layers):
        log.info(f"Features of {', '.join(readings.layers)} from {cache.folder}")
        return
    start = cache.start(readings.layers)
    log.info(
        f"Reading {', '.join(readings.layers)} of {len(images.files):,} images into {cache.folder}"
        + (f", from image {start:,} on" if start else "")
    )
    loader = file_loader(config, Subset(images.files, range(start, len(images.files))))
    classifier.to(device)
    at_once = IMAGES_AT_ONCE if device.type == "cpu" else config.data.batch_size
    if device.type == "cpu":
        classifier.network.to(memory_format=torch.channels_last)

    def features(batch: Tensor) -> Mapping[str, Tensor]:
        split = batch.split(at_once)
        parts = [readings(classifier.preprocessing(part.to(device))) for part in split]
        return {layer: torch.cat([part[layer] for part in parts]) for layer in parts[0]}

    def batches() -> Iterator[Tensor]:
        with tqdm(
            total=len(images.files),
            initial=start,
            desc="features",
            unit="image",
            disable=not is_first_process(),
        ) as bar:
            for batch, *_ in loader:
                yield batch
                bar.update(len(batch))

    with torch.inference_mode():
        cache.fill(readings.layers, features, batches())
    classifier.to("cpu")
