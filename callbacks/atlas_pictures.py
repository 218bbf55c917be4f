"""What a probe leaves of each epoch: the atlas, its pictures, and the loggers' copies of them."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image

from zf_lightning.atlas import Atlas
from zf_lightning.report.page import images_of, write_report
from zf_lightning.report.panel import atlas_panel

log = logging.getLogger(__name__)


def write_atlas(atlas: Atlas, folder: Path, *, loggers: Sequence[Any], step: int) -> None:
    """Write `atlas/`, `figures/` and `report/` of a run's folder, and hand on the pictures."""
    assert atlas.epoch is not None
    name = f"epoch={atlas.epoch + 1:03}"
    atlas.save(folder / "atlas" / f"{name}.safetensors")
    (folder / "figures").mkdir(exist_ok=True)
    for layer in atlas.layers:
        panel = atlas_panel(atlas, layer)
        path = folder / "figures" / f"{name}_{layer}.png"
        # Half the time of the usual level 6, and 5 % more bytes.
        panel.save(path, compress_level=3)
        for logger in loggers:
            _log_picture(logger, f"probe/{layer}", path, _caption(atlas, layer), step)
    write_report(folder)


def warn_of(atlas: Atlas) -> None:
    """Say which feature maps held NaN, and which activations were not found again."""
    for layer, found in atlas.layers.items():
        if int(found.nans.sum()):
            log.warning(f"probe: {layer} held NaN in {int(found.nans.sum())} feature maps.")
        if found.mismatches:
            worst = found.mismatches[0]
            log.warning(
                f"probe: {len(found.mismatches)} activations of {layer} were not found again, "
                f"as that of map {worst.feature_map} in image {worst.index}: recorded "
                f"{worst.recorded:.6g}, recomputed {worst.recomputed:.6g}."
            )


def _caption(atlas: Atlas, layer: str) -> str:
    found = atlas.layers[layer]
    maps = ", ".join(
        f"{number} ({found.activations[number, 0]:.3g})" for number in found.drawn.tolist()
    )
    assert atlas.epoch is not None
    strongest = f"feature maps and their strongest activations: {maps}"
    return f"{layer}, epoch {atlas.epoch + 1}, {images_of(atlas.split)}; {strongest}"


def _log_picture(logger: Any, key: str, path: Path, caption: str, step: int) -> None:
    if isinstance(logger, WandbLogger):
        logger.log_image(key, [str(path)], caption=[caption])
    elif isinstance(logger, TensorBoardLogger):
        with Image.open(path) as picture:
            pixels = numpy.asarray(picture.convert("RGB"))
        logger.experiment.add_image(key, pixels, step, dataformats="HWC")
        logger.experiment.add_text(key, caption, step)
