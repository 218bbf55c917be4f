"""task=test: the errors of a checkpoint with one crop and with ten (Table 2)."""

import logging
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from zf_lightning import assembly
from zf_lightning.checkpoint import (
    check_same_classes,
    check_same_network,
    configuration_of,
    find_checkpoint,
    load_classifier,
)
from zf_lightning.instantiate import plain
from zf_lightning.loggers import close_wandb
from zf_lightning.models import parameter_count
from zf_lightning.result import check_count, error_lines, write_result
from zf_lightning.sweep import override_key

log = logging.getLogger(__name__)


def run(config: DictConfig) -> dict[str, Any]:
    """Test `ckpt` on the test split and write `result.json`; its contents are returned.

    Network and data are the checkpoint's own, unless the command line names others.
    """
    path = find_checkpoint(config.ckpt)
    overrides = list(HydraConfig.get().overrides.task)
    config = configuration_of(path, config, overrides)
    classifier = load_classifier(path)
    source = assembly.build_source(config)
    if any(override_key(o).split(".")[0] in ("model", "ablation") for o in overrides):
        model = assembly.build_model_options(config)
        check_same_network(path, model=model, class_names=source.class_names)
    check_same_classes(path, known=classifier.class_names, found=source.class_names)
    data = assembly.build_datamodule(config, source)
    trainer = assembly.build_trainer(config, callbacks=False)
    failed = True
    try:
        trainer.test(classifier, data, verbose=False)
        failed = False
    finally:
        close_wandb(failed=failed)
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    expected = data.length("test")
    check_count(trainer, figures["test/images"], expected, bad=figures["test/bad_files"])
    result = {
        "task": "test",
        "ckpt": str(path),
        "model": classifier.hparams["model"]["name"],
        "data": config.data.name,
        "classes": len(classifier.class_names),
        "parameters": parameter_count(classifier.network),
        "test/images_in_split": expected,
        **figures,
    }
    if trainer.is_global_zero:
        folder = Path(config.paths.run)
        OmegaConf.save(OmegaConf.create(plain(config)), folder / "config.yaml")
        write_result(folder, result)
        log.info(f"\n{path} on {int(figures['test/images']):,} of {expected:,} test images:")
        for line in error_lines(result):
            log.info(line)
        log.info(f"Everything is in {folder}: result.json, config.yaml, run.log")
    return result
