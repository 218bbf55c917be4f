"""task=train: train a network, test the best checkpoint with one crop and with ten (Sec. 3)."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any, TypeVar

import lightning
from lightning.pytorch.callbacks import Timer
from omegaconf import DictConfig, OmegaConf

from zf_lightning.callbacks.first_failure import told_how_it_ends
from zf_lightning.callbacks.stall import Stall
from zf_lightning.config.instantiate import plain
from zf_lightning.data import ImageDataModule
from zf_lightning.data.sources.base import Split
from zf_lightning.errors import UserError
from zf_lightning.models import parameter_count
from zf_lightning.report.page import write_report
from zf_lightning.report.wall import MapRow, draw_training
from zf_lightning.results import metric_names as names
from zf_lightning.results.per_image import write_per_image
from zf_lightning.results.result import (
    check_count,
    counted,
    error_lines,
    paper_values,
    shown_errors,
    write_result,
)
from zf_lightning.sweep import Job, changes_layers
from zf_lightning.system.processes import is_first_process
from zf_lightning.training import build as assembly
from zf_lightning.training.checkpoint import check_same_network
from zf_lightning.training.checkpoint_file import checkpoint_to_resume, read_checkpoint
from zf_lightning.training.loggers import (
    log_configuration,
    log_confusion,
    log_feature_maps,
    log_summary,
)
from zf_lightning.training.module import LAST_CROPS, ImageClassifier
from zf_lightning.training.provenance import record_run
from zf_lightning.training.wandb_runs import close_wandb

log = logging.getLogger(__name__)
Kind = TypeVar("Kind", bound=lightning.Callback)


def run(config: DictConfig) -> dict[str, Any]:
    """Train, test, and write `result.json`; its contents are returned.

    A run that is started again in the same folder resumes from its last checkpoint.
    """
    folder = Path(config.paths.run)
    model = assembly.build_model_options(config)
    # Before the data, which may take minutes to prepare: a mistake is reported at once.
    trainer = assembly.build_trainer(config)
    source = assembly.build_source(config)
    if source.split("train") is source.split("test"):
        raise UserError(f"data={config.data.name} has no split to learn from; choose other data.")
    data = assembly.build_datamodule(config, source)
    classifier = ImageClassifier(
        model,
        list(source.class_names),
        optimizer=plain(config.optimizer),
        scheduler=plain(config.scheduler),
        seed=config.seed,
        description={"config": OmegaConf.to_yaml(config)},
        statistics=assembly.training_statistics(config, model, data),
    )
    earlier = checkpoint_to_resume(folder / "checkpoints")
    if earlier is None:
        assembly.load_start(config, classifier)
    else:
        check_same_network(earlier, model=model, class_names=source.class_names)
        log.info(f"Resuming from {earlier}")
    if is_first_process():
        # It says that a run is complete: this one is not.
        (folder / "result.json").unlink(missing_ok=True)
    assembly.describe_network(classifier, input_size=model["input_size"])
    failed = True
    try:
        if trainer.is_global_zero:
            record_run(config, folder, source)
        log_configuration(trainer.loggers, plain(config))
        # For a user's own network or callback; this project's random numbers have their own seeds.
        lightning.seed_everything(config.seed, workers=True, verbose=False)
        with told_how_it_ends(trainer, folder):
            trainer.fit(classifier, data, ckpt_path=earlier, weights_only=True)
        result = _test(trainer, classifier, data, config, model)
        if trainer.is_global_zero:
            log_summary(trainer.loggers, result)
            log_feature_maps(trainer.loggers, _draw_wall(folder))
            _log_confusion(trainer, classifier, data, result)
        failed = False
    finally:
        upload = close_wandb(failed=failed)
    if trainer.is_global_zero:
        wrong = classifier.wrong_by_image
        write_per_image(folder, {result["tested_on"]: wrong.pop("test"), **wrong})
        write_result(folder, result)
        try:
            write_report(folder)
        except OSError as problem:
            log.warning(f"The report could not be written: {problem}")
        _report(result, folder, upload)
    return result


def _draw_wall(folder: Path) -> list[MapRow]:
    try:
        return draw_training(folder)
    except (OSError, UserError) as problem:
        log.warning(f"The wall of feature maps could not be drawn: {problem}")
        return []


def _log_confusion(
    trainer: lightning.Trainer,
    classifier: ImageClassifier,
    data: ImageDataModule,
    result: dict[str, Any],
) -> None:
    """Log which classes are taken for which, and put the most frequent into the result."""
    # What is tested on may be the validation images; to the classifier they are the test's then.
    labels = data.source.split("test").labels
    answers = classifier.answers_by_image["test"]
    known = [labels[index] for index in answers]
    log_confusion(trainer.loggers, known, [*answers.values()], classifier.class_names)
    pairs = Counter(pair for pair in zip(known, answers.values(), strict=True) if len({*pair}) > 1)
    result["confused"] = [
        {"class": classifier.class_names[of], "as": classifier.class_names[other], "images": count}
        for (of, other), count in pairs.most_common(5)
    ]


def _test(
    trainer: lightning.Trainer,
    classifier: ImageClassifier,
    data: ImageDataModule,
    config: DictConfig,
    model: dict[str, Any],
) -> dict[str, Any]:
    """The metrics of the best checkpoint, or of the last weights where none was kept.

    Those of training and validation images too, for the columns of Table 3, where both errors are
    of the same weights.
    """
    best = Path(config.paths.run) / "checkpoints" / "best.ckpt"
    keeps_best = trainer.checkpoint_callback is not None and best.exists()
    figures: dict[str, float] = {
        name: float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith(("train/", "val/"))
    }
    epoch = trainer.current_epoch
    # Before the test: Lightning restores the callbacks' state from the best checkpoint.
    seconds = _training_seconds(trainer)
    stalled = any(callback.stalled for callback in _callbacks(trainer, Stall))
    if keeps_best:
        checkpoint = read_checkpoint(best)
        figures = dict(checkpoint["metrics"])
        # One that was written after the training has counted its last epoch already.
        epoch = min(checkpoint["epoch"] + 1, epoch)
    else:
        log.info("No checkpoint was kept: testing the last weights.")
    # ImageNet's test labels are not public: there the validation images are tested on.
    tested_on = "test" if data.source.split("test") is not data.source.split("val") else "val"
    lengths: dict[Split, int] = {"test": data.length("test")}
    if tested_on == "test":
        lengths["val"] = data.length("val")
    # Tasks that train on the way to something else do not ask for it.
    training_images = config.task.get("training_error_images", 0)
    if training_images:
        lengths["train"] = min(data.length("train"), training_images)
    classifier.tested_splits = tuple(lengths)
    loaders = [data.evaluation_loader(s, at_most=n) for s, n in lengths.items()]
    trainer.test(classifier, loaders, ckpt_path=best if keeps_best else None, verbose=False)
    figures |= {name: float(value) for name, value in trainer.callback_metrics.items()}
    suffixes = {**LAST_CROPS, "test": ""}
    for loader, (split, length) in enumerate(lengths.items()):
        counted = figures[f"{split}/images{suffixes[split]}"]
        bad = figures[f"{split}/bad_files{suffixes[split]}"]
        check_count(trainer, counted, length, bad=bad, loader=loader)
    if tested_on == "val":
        for name in names.OF_A_SPLIT:
            figures[f"val/{name}{names.TENCROP}"] = figures[f"test/{name}{names.TENCROP}"]
    ablations = list(config.ablation)
    # Torchvision's alexnet is not the paper's.
    not_the_papers = model.get("network") is not None
    # Not known of a configuration that was composed by Hydra alone.
    overrides = config.get("overrides")
    not_the_papers |= overrides is None or changes_layers(overrides)
    return {
        "task": "train",
        "model": model["name"],
        "ablation": ablations,
        "data": config.data.name,
        "classes": len(classifier.class_names),
        "width": model.get("width"),
        "seed": config.seed,
        "parameters": parameter_count(classifier.network),
        "epochs": trainer.current_epoch,
        "stalled": stalled,
        "best_epoch": epoch,
        "tested_on": tested_on,
        names.SECONDS: seconds,
        names.TEST_IMAGES_IN_SPLIT: lengths["test"],
        **figures,
        "paper": None if not_the_papers else paper_values(model["name"], ablations),
    }


def _training_seconds(trainer: lightning.Trainer) -> float | None:
    """Time in training and its validations, over all parts of a run that was interrupted.

    None if `callbacks.timer` was switched off.
    """
    timers = _callbacks(trainer, Timer)
    return round(timers[0].time_elapsed("train"), 1) if timers else None


def _callbacks(trainer: lightning.Trainer, kind: type[Kind]) -> list[Kind]:
    return [c for c in trainer.callbacks if isinstance(c, kind)]  # type: ignore[attr-defined]


def _report(result: dict[str, Any], folder: Path, upload: str | None) -> None:
    seconds = result[names.SECONDS]
    took = "" if seconds is None else f" in {seconds:.0f} s"
    log.info(
        f"\nTrained {counted(result['epochs'], 'epoch')}{took}. Tested "
        f"epoch {result['best_epoch']} on {int(result[names.TEST_IMAGES]):,} of "
        f"{result[names.TEST_IMAGES_IN_SPLIT]:,} {result['tested_on']} images:"
    )
    for line in error_lines(result):
        log.info(line)
    if result["paper"] is not None and result["data"] == "imagenet":
        paper = result["paper"]
        log.info(f"  {paper['table']}, {paper['row']}: {shown_errors(paper, 'val', noun=' error')}")
    log.info(f"Everything is in {folder}, as {folder / 'report' / 'index.html'} shows.")
    # A sweep says at its end how to upload all of its runs.
    if upload and Job.read(folder) is None:
        log.info(f"To upload the run to Weights & Biases: {upload}")
