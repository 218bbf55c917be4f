"""task=train: train a network, test the best checkpoint with one crop and with ten (Sec. 3)."""

import logging
import sys
import time
from pathlib import Path
from typing import Any

import lightning
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from zf_lightning import assembly
from zf_lightning.checkpoint import check_same_network, read_checkpoint
from zf_lightning.data import ImageDataModule
from zf_lightning.errors import UserError
from zf_lightning.instantiate import plain
from zf_lightning.loggers import close_wandb, log_configuration
from zf_lightning.models import parameter_count
from zf_lightning.module import ImageClassifier
from zf_lightning.report import write_report
from zf_lightning.result import check_count, error_lines, paper_figures, write_result
from zf_lightning.sweep import override_key

log = logging.getLogger(__name__)


def run(config: DictConfig) -> dict[str, Any]:
    """Train, test, and write `result.json`; its contents are returned.

    A run that is started again in the same folder goes on from its last checkpoint.
    """
    folder = Path(config.paths.run)
    model = assembly.build_model_options(config)
    # First what can fail at once: the data may take minutes to prepare.
    trainer = assembly.build_trainer(config)
    _check_limits(trainer)
    source = assembly.build_source(config)
    if len(source.class_names) < 2:
        raise UserError(f"data={config.data.name} has no classes to learn; choose other data.")
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
    last = folder / "checkpoints" / "last.ckpt"
    if not last.exists():
        assembly.load_start(config, classifier)
    else:
        check_same_network(last, model=model, class_names=source.class_names)
        log.info(f"Going on from {last}")
    log.info(
        f"{model['name']} on {config.data.name}: {len(source.class_names)} classes, "
        + ", ".join(f"{data.length(split):,} {split}" for split in ("train", "val", "test"))
        + " images"
    )
    assembly.describe_network(classifier, input_size=model["input_size"])
    failed = True
    try:
        _log_configuration(trainer, config)
        # For what a user's own network or callback draws; what is drawn here has seeds of its own.
        lightning.seed_everything(config.seed, workers=True, verbose=False)
        began = time.monotonic()
        _fit(trainer, classifier, data, last if last.exists() else None, folder)
        seconds = time.monotonic() - began
        result = _test(trainer, classifier, data, config, model)
        result["train/seconds"] = round(seconds, 1)
        failed = False
    finally:
        upload = close_wandb(failed=failed)
    if trainer.is_global_zero:
        write_result(folder, result)
        write_report(folder)
        _report(result, folder, upload)
    return result


def _fit(
    trainer: lightning.Trainer,
    classifier: ImageClassifier,
    data: ImageDataModule,
    last: Path | None,
    folder: Path,
) -> None:
    try:
        trainer.fit(classifier, data, ckpt_path=last, weights_only=True)
    except SystemExit:
        # Lightning leaves so after Ctrl-C.
        if trainer.interrupted:
            log.info(f"Interrupted; the same command with hydra.run.dir={folder} goes on.")
            sys.exit(130)
        raise


def _test(
    trainer: lightning.Trainer,
    classifier: ImageClassifier,
    data: ImageDataModule,
    config: DictConfig,
    model: dict[str, Any],
) -> dict[str, Any]:
    """The figures of the best checkpoint, or of the last weights where none was kept."""
    best = Path(config.paths.run) / "checkpoints" / "best.ckpt"
    keeps_best = trainer.checkpoint_callback is not None and best.exists()
    figures: dict[str, float] = {
        name: float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith(("train/", "val/"))
    }
    epoch = trainer.current_epoch
    if keeps_best:
        checkpoint = read_checkpoint(best)
        figures = dict(checkpoint["metrics"])
        epoch = checkpoint["epoch"] + 1
    else:
        log.info("No checkpoint was kept: testing the weights as they are.")
    trainer.test(classifier, data, ckpt_path=best if keeps_best else None, verbose=False)
    figures |= {name: float(value) for name, value in trainer.callback_metrics.items()}
    expected = data.length("test")
    check_count(trainer, figures["test/images"], expected, bad=figures["test/bad_files"])
    ablations = list(config.ablation)
    return {
        "task": "train",
        "model": model["name"],
        "ablation": ablations,
        "data": config.data.name,
        "classes": len(classifier.class_names),
        "seed": config.seed,
        "parameters": parameter_count(classifier.network),
        "epochs": trainer.current_epoch,
        "best_epoch": epoch,
        # ImageNet's test labels are not public: there the validation images are tested on.
        "tested_on": "test" if data.source.split("test") is not data.source.split("val") else "val",
        "test/images_in_split": expected,
        **figures,
        "paper": None if _not_the_papers(model) else paper_figures(model["name"], ablations),
    }


def _not_the_papers(model: dict[str, Any]) -> bool:
    """Whether the network is another, or its layers were changed one by one: there is no row."""
    keys = map(override_key, HydraConfig.get().overrides.task)
    changed = any(key.startswith(("model.convs", "model.fcs", "model.weights")) for key in keys)
    # Torchvision's alexnet is not the paper's.
    return changed or model.get("network") is not None


def _check_limits(trainer: lightning.Trainer) -> None:
    for name, purpose in (("val", "choose the best checkpoint"), ("test", "test the network")):
        if getattr(trainer, f"limit_{name}_batches") == 0:
            raise UserError(
                f"trainer.limit_{name}_batches=0 leaves nothing to {purpose} by; use a small "
                f"number, as trainer.limit_{name}_batches=1."
            )


def _log_configuration(trainer: lightning.Trainer, config: DictConfig) -> None:
    values = plain(config)
    if trainer.is_global_zero:
        OmegaConf.save(OmegaConf.create(values), Path(config.paths.run) / "config.yaml")
    log_configuration(trainer.loggers, values)


def _report(result: dict[str, Any], folder: Path, upload: str | None) -> None:
    log.info(
        f"\nTrained {result['epochs']} epochs ({result['train/seconds']:.0f} s this time). Tested "
        f"epoch {result['best_epoch']} on {int(result['test/images']):,} of "
        f"{result['test/images_in_split']:,} {result['tested_on']} images:"
    )
    for line in error_lines(result):
        log.info(line)
    if result["paper"] is not None and result["data"] == "imagenet":
        row = "  {table}, {row}: top-1 error {val/top1_error} %, top-5 error {val/top5_error} %"
        log.info(row.format(**result["paper"]))
    log.info(f"Everything is in {folder}, as {folder / 'report' / 'index.html'} shows.")
    if upload:
        log.info(f"To upload the run to Weights & Biases: {upload}")
