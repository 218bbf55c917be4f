"""task=transfer: features on other data, frozen and from scratch (Tables 4 to 7, Fig. 9)."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy
from omegaconf import DictConfig

from zf_lightning.analysis.transfer import Fold, Score, draw_folds
from zf_lightning.config.instantiate import plain
from zf_lightning.config.options import names_of, numbers_of, overridden
from zf_lightning.data import ImageSource, WholeSet, whole_set
from zf_lightning.errors import UserError
from zf_lightning.figures.transfer import accuracy_by_images, accuracy_by_layer
from zf_lightning.inspection.subject import classifier_to_inspect
from zf_lightning.results.result import counted, write_result
from zf_lightning.results.tables import Table
from zf_lightning.system.sealed import write_json
from zf_lightning.tasks.transfer import from_scratch, frozen
from zf_lightning.tasks.transfer.tables import Frozen, build_tables, plot_lines
from zf_lightning.training import build as assembly
from zf_lightning.training.loggers import log_configuration, log_table
from zf_lightning.training.provenance import record_run
from zf_lightning.training.wandb_runs import close_wandb

log = logging.getLogger(__name__)

Folds = dict[int | None, list[Fold]]


def run(config: DictConfig) -> dict[str, Any]:
    """Score classifiers on frozen layers, and networks trained from scratch; write the tables.

    An interrupted run resumes: features are kept in `paths.cache`, scores and trainings in the
    run's folder. Returns the contents of `result.json`.
    """
    transfer = config.transfer
    classifiers = names_of(transfer.classifiers, option="transfer.classifiers")
    pretrained = config.ckpt is not None or config.model.weights is not None
    if not pretrained and not transfer.from_scratch:
        raise UserError(
            "This task needs a trained network: give ckpt=FILE or RUN_FOLDER, or model=torchvision "
            "model.name=NAME model.weights=FILE; or transfer.from_scratch=true alone."
        )
    trainer = assembly.build_trainer(config, callbacks=False)
    classifier = classifier_to_inspect(config) if pretrained else None
    source = assembly.build_source(config)
    images = whole_set(source)
    if not source.class_names or images.files.labels.min() < 0:
        raise UserError(f"data={config.data.name} has images without a class: choose other data.")
    folds = choose_folds(config, images, source)
    folder = Path(config.paths.run)
    path = folder / "folds.json"
    if trainer.is_global_zero:
        record_run(config, folder, source)
        write_folds(path, images, folds)
    _describe(folds)
    trainings: list[from_scratch.Training] = []
    if transfer.from_scratch:
        # A mistake in them is reported before hours of other work.
        trainings = from_scratch.plan(config, images, folds, path)

    reading: Frozen | None = None
    scores: list[Score] = []
    if classifier is not None:
        reading = frozen.score(
            config,
            classifier,
            images,
            folds,
            classes=len(source.class_names),
            classifiers=classifiers,
            # The processes of a training would run the whole task again.
            trainer=assembly.build_inspection_trainer(config, alone=transfer.from_scratch),
        )
        if reading is None:
            return {}
        scores += reading.scores
    scores += from_scratch.score(config, images, trainings)
    tables = build_tables(
        scores, reading, data=config.data.name, class_names=tuple(source.class_names)
    )
    result = _result(config, images, source, folds, reading, scores)
    upload = _publish(trainer, config, tables)
    _draw(folder, scores, reading, data=config.data.name)
    write_result(folder, result)
    for table in tables:
        log.info(f"\n{table.text()}")
    log.info(f"Everything is in {folder}: tables/, figures/, result.json, folds.json")
    if upload:
        log.info(f"To upload the run to Weights & Biases: {upload}")
    return result


def choose_folds(config: DictConfig, images: WholeSet, source: ImageSource) -> Folds:
    """The folds by the number of training images a class; under None the set's own split."""
    transfer = config.transfer
    if transfer.per_class == "split":
        shared = numpy.intersect1d(images.members["train"], images.members["test"])
        if len(shared):
            raise UserError(
                f"{len(shared):,} images of data={config.data.name} are training and test images "
                "at once: choose other splits (data.image_sets), or transfer.per_class=NUMBER."
            )
        return {None: [Fold(images.members["train"], images.members["test"])]}
    return {
        number: draw_folds(
            images.files.labels,
            source.class_names,
            per_class=number,
            folds=transfer.folds,
            test_per_class=transfer.test_per_class,
            seed=config.seed,
        )
        for number in numbers_of(transfer.per_class, option="transfer.per_class")
    }


def write_folds(path: Path, images: WholeSet, folds: Folds) -> None:
    """Write `folds.json`: all file names, and each fold's positions among them."""
    positions = {
        from_scratch.fold_key(number): [
            {"train": fold.train.tolist(), "test": fold.test.tolist()} for fold in several
        ]
        for number, several in folds.items()
    }
    contents = {"files": list(images.files.names), "folds": positions}
    write_json(path, contents, indent=None)


def _describe(folds: Folds) -> None:
    for number, several in folds.items():
        first = several[0]
        log.info(
            f"  {'own split' if number is None else f'{number} a class'}: "
            f"{len(first.train):,} training and {len(first.test):,} test images, "
            f"{counted(len(several), 'fold')}"
        )


def _result(
    config: DictConfig,
    images: WholeSet,
    source: ImageSource,
    folds: Folds,
    reading: Frozen | None,
    scores: Sequence[Score],
) -> dict[str, Any]:
    keys = {
        s.key: f"{s.layer}/{s.classifier}/{from_scratch.fold_key(s.per_class)}/fold={s.fold}"
        for s in scores
    }
    return {
        "task": "transfer",
        "ckpt": None if config.ckpt is None else str(config.ckpt),
        "model": config.model.name if reading is None else reading.model,
        "data": config.data.name,
        "classes": len(source.class_names),
        "images": len(images.files),
        "seed": config.seed,
        "folds": max(len(several) for several in folds.values()),
        "overrides": overridden(config),
        "read_at": {} if reading is None else reading.places,
        "dimensions": {} if reading is None else reading.dimensions,
        "pooled_size": config.transfer.pooled_size,
        "class_weight": config.transfer.class_weight,
        "strengths": {keys[s.key]: s.strength for s in scores if s.strength is not None},
        **{f"transfer/{keys[s.key]}": s.accuracy for s in scores},
    }


def _publish(trainer: lightning.Trainer, config: DictConfig, tables: Sequence[Table]) -> str | None:
    """Write the tables and log them; returns how to upload the run."""
    failed = True
    try:
        log_configuration(trainer.loggers, plain(config))
        for table in tables:
            table.write(Path(config.paths.run) / "tables")
            log_table(trainer.loggers, table)
        failed = False
    finally:
        upload = close_wandb(failed=failed)
    return upload


def _draw(folder: Path, scores: Sequence[Score], reading: Frozen | None, *, data: str) -> None:
    (folder / "figures").mkdir(exist_ok=True)
    plots = (accuracy_by_layer, accuracy_by_images)
    for plot, lines in zip(plots, plot_lines(scores, reading, data=data), strict=True):
        if len({point for line in lines for point in line.places}) > 1:
            plot(lines).save(folder / "figures" / f"{plot.__name__}.png")
