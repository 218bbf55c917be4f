"""What a task that inspects a network leaves: pictures, `result.json`, a page, and a few lines."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from PIL import Image

from zf_lightning.report.page import write_report
from zf_lightning.results.result import write_result
from zf_lightning.training.module import ImageClassifier
from zf_lightning.training.provenance import record_run
from zf_lightning.training.wandb_runs import log_figures

log = logging.getLogger(__name__)


def facts(config: DictConfig, classifier: ImageClassifier) -> dict[str, Any]:
    """Which network and which data a result is of."""
    return {
        "model": classifier.hparams["model"]["name"],
        "weights": str(config.ckpt or config.model.weights),
        "data": config.data.name,
    }


def finish(
    config: DictConfig,
    result: Mapping[str, Any],
    figures: Mapping[str, Image.Image],
    lines: Sequence[str] = (),
) -> dict[str, Any]:
    """Write `figures/`, `result.json` and the page of a run, and report where they are."""
    folder = Path(config.paths.run)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    files = {name: folder / "figures" / f"{name}.png" for name in figures}
    for name, figure in figures.items():
        figure.save(files[name])
    record_run(config, folder)
    complete = {"task": config.task.name, **result}
    write_result(folder, complete)
    page = write_report(folder)
    for line in lines:
        log.info(line)
    log.info(f"Everything is in {folder}, as {page} shows.")
    upload = log_figures(config, files)
    if upload:
        log.info(f"To upload the figures to Weights & Biases: {upload}")
    return complete
