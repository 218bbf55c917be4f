"""task=test: errors of a checkpoint, of several together, or of weights (Table 2)."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from zf_lightning import paper
from zf_lightning.config.instantiate import plain
from zf_lightning.config.options import overridden
from zf_lightning.errors import UserError
from zf_lightning.inspection.subject import (
    check_classes,
    configuration_to_inspect,
    trained_networks,
)
from zf_lightning.models import parameter_count
from zf_lightning.results import metric_names as names
from zf_lightning.results.result import check_count, error_lines, write_result
from zf_lightning.results.tables import Cell, Table
from zf_lightning.sweep import override_key
from zf_lightning.training import build as assembly
from zf_lightning.training.checkpoint import check_same_network
from zf_lightning.training.ensemble import MEMBER, Ensemble
from zf_lightning.training.loggers import log_configuration, log_table
from zf_lightning.training.module import ImageClassifier
from zf_lightning.training.provenance import record_run
from zf_lightning.training.wandb_runs import close_wandb

log = logging.getLogger(__name__)


def run(config: DictConfig) -> dict[str, Any]:
    """Test `ckpt`, or `model.weights`, on the test split; returns what `result.json` holds.

    Network and data are the checkpoint's own, unless the command line names others. Several
    checkpoints are tested as an ensemble, on the data of the first, and each alone.
    """
    networks = trained_networks(config)
    paths, classifiers = [path for path, _ in networks], [one for _, one in networks]
    config = configuration_to_inspect(config)
    source = assembly.build_source(config)
    named = {override_key(override).split(".")[0] for override in overridden(config)}
    if config.ckpt is not None and named & {"model", "ablation"}:
        if len(paths) > 1:
            raise UserError("Several checkpoints bring networks of their own: leave out model=….")
        model = assembly.build_model_options(config)
        check_same_network(paths[0], model=model, class_names=source.class_names)
    for path, classifier in networks:
        check_classes(config, path, classifier, source.class_names)
    data = assembly.build_datamodule(config, source)
    trainer = assembly.build_trainer(config, callbacks=False)
    tested = classifiers[0] if len(paths) == 1 else Ensemble(classifiers)
    table: Table | None = None
    failed = True
    try:
        log_configuration(trainer.loggers, plain(config))
        trainer.test(tested, data, verbose=False)
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if len(paths) > 1:
            table = ensemble_table(paths, classifiers, figures, data=config.data.name)
            log_table(trainer.loggers, table)
        failed = False
    finally:
        upload = close_wandb(failed=failed)
    expected = data.length("test")
    check_count(trainer, figures[names.TEST_IMAGES], expected, bad=figures[names.TEST_BAD_FILES])
    result = {
        "task": "test",
        "weights" if config.ckpt is None else "ckpt": (
            str(paths[0]) if len(paths) == 1 else list(map(str, paths))
        ),
        "model": "+".join(dict.fromkeys(c.hparams["model"]["name"] for c in classifiers)),
        "data": config.data.name,
        "classes": len(classifiers[0].class_names),
        "parameters": sum(parameter_count(c.network) for c in classifiers),
        names.TEST_IMAGES_IN_SPLIT: expected,
        **figures,
    }
    if trainer.is_global_zero:
        folder = Path(config.paths.run)
        record_run(config, folder, source)
        write_result(folder, result)
        who = str(paths[0]) if len(paths) == 1 else f"{len(paths)} networks together"
        log.info(f"\n{who} on {int(figures[names.TEST_IMAGES]):,} of {expected:,} test images:")
        for line in error_lines(result):
            log.info(line)
        if table is not None:
            table.write(folder / "tables")
            log.info(f"\n{table.text()}")
        log.info(f"Everything is in {folder}: result.json, config.yaml, run.log")
        if upload:
            log.info(f"To upload the run to Weights & Biases: {upload}")
    return result


def ensemble_table(
    paths: Sequence[Path],
    classifiers: Sequence[ImageClassifier],
    figures: dict[str, float],
    *,
    data: str,
) -> Table:
    """Each network and all together, with one crop and with ten; on ImageNet the paper's rows."""
    rows: list[tuple[Cell, ...]] = []
    for number, (path, classifier) in enumerate(zip(paths, classifiers, strict=True)):
        name = f"{classifier.hparams['model']['name']}, {path}"
        rows.append((name, *_errors(figures, f"test/{MEMBER}{number}")))
    rows.append((f"{len(paths)} networks, mean of the softmaxes", *_errors(figures, "test")))
    notes = ["Errors in percent, on the same images for all rows of ours."]
    if data == "imagenet":
        for row in paper.TABLE_2:
            known = (row.val_top1_error, row.val_top5_error)
            rows.append((f"paper: {row.row}", None, None, *known))
        notes.append(
            "The paper's validation errors; it does not say over how many crops, and ten are the "
            "likely protocol. *: also trained on ImageNet 2011."
        )
    return Table(
        "ensemble",
        f"Errors on {data} (Table 2)",
        ("network", "top-1, one crop", "top-5, one crop", "top-1, ten crops", "top-5, ten crops"),
        tuple(rows),
        tuple(notes),
    )


def _errors(figures: dict[str, float], where: str) -> list[float]:
    return [
        figures[f"{where}/{error}{suffix}"]
        for suffix in ("", names.TENCROP)
        for error in ("top1_error", "top5_error")
    ]
