"""What a probe leaves of each epoch: the atlas, its pictures, and the loggers' copies of them."""

import errno
import logging
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image

from zf_lightning.atlas import Atlas
from zf_lightning.report.page import images_of, write_report
from zf_lightning.report.panel import atlas_panel
from zf_lightning.results import metric_names as names
from zf_lightning.results.metric_names import EPOCH
from zf_lightning.results.result import counted
from zf_lightning.system.cores import available_cores
from zf_lightning.system.files import share, write_whole
from zf_lightning.training.loggers import attempt

log = logging.getLogger(__name__)
#: Of the pictures, 0 to 100; beside one without loss no difference is seen at full size.
QUALITY = 70


def atlas_file(atlas: Atlas, folder: Path) -> Path:
    """Where the atlas of an epoch is in a run's folder."""
    assert atlas.epoch is not None
    return folder / "atlas" / f"epoch={atlas.epoch + 1:03}.safetensors"


def write_atlas(
    atlas: Atlas, folder: Path, *, loggers: Sequence[Any], step: int, whole: bool
) -> None:
    """Write `atlas/`, `figures/` and `report/` of a run's folder, and hand on the pictures.

    The file has the tiles of all top images, or, unless `whole`, those of each feature map's
    strongest, which evolution compares.
    Raises OSError where they cannot be written, or would take the place of the checkpoints.
    """
    _leave_room(folder)
    file = atlas_file(atlas, folder)
    (atlas if whole else atlas.strongest()).save(file)
    (folder / "figures").mkdir(exist_ok=True)
    pictures = {layer: folder / "figures" / f"{file.stem}_{layer}.webp" for layer in atlas.layers}
    # Pillow lets other threads run while it resizes and compresses.
    with ThreadPoolExecutor(available_cores()) as threads:
        list(threads.map(partial(_draw, atlas), pictures, pictures.values()))
    for logger in loggers:
        attempt(logger, _log_pictures, logger, atlas, pictures, step)
    write_report(folder)


def _draw(atlas: Atlas, layer: str, path: Path) -> None:
    panel = atlas_panel(atlas, layer)
    # A quarter of the bytes of a PNG, in half the time of the best that the format can do.
    write_whole(path, partial(panel.save, format="webp", quality=QUALITY, method=0))


def _leave_room(folder: Path) -> None:
    """Leave the disk to the checkpoints of the epoch, which Lightning writes after the pictures.

    Pictures first, so that a run that is killed in between does not lack those of an epoch that it
    does not repeat.
    """
    last = folder / "checkpoints" / "last.ckpt"
    # The best and the last, each beside its old one until it is whole.
    needed = 2 * last.stat().st_size if last.exists() else 0
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, "What is free is left to the checkpoints", str(folder))


def warn_of(atlas: Atlas) -> None:
    """Say which feature maps held NaN, and which activations were not found again."""
    for layer, found in atlas.layers.items():
        if int(found.nans.sum()):
            log.warning(f"probe: {layer} held NaN in {int(found.nans.sum())} feature maps.")
        if found.mismatches:
            worst = found.mismatches[0]
            log.warning(
                f"probe: {counted(len(found.mismatches), 'activation')} of {layer} differed when "
                f"computed again, as that of map {worst.feature_map} in image {worst.index}: "
                f"recorded {worst.recorded:.6g}, recomputed {worst.recomputed:.6g}."
            )


def _caption(atlas: Atlas, layer: str) -> str:
    found = atlas.layers[layer]
    maps = ", ".join(
        f"{number} ({found.activations[number, 0]:.3g})" for number in found.drawn.tolist()
    )
    assert atlas.epoch is not None
    strongest = f"feature maps and their strongest activations: {maps}"
    return f"{layer}, epoch {atlas.epoch + 1}, {images_of(atlas.split)}; {strongest}"


def _mean_scores(atlas: Atlas) -> dict[str, float]:
    """By layer, the means over the feature maps that are drawn."""
    return {
        names.score(score, layer): mean
        for layer, found in atlas.layers.items()
        for score, mean in found.mean_scores().items()
    }


def _log_pictures(logger: Any, atlas: Atlas, pictures: dict[str, Path], step: int) -> None:
    captions = {layer: _caption(atlas, layer) for layer in pictures}
    # One row of all layers, with the epoch, by which a slider can go.
    row: dict[str, Any] = {EPOCH: atlas.epoch, **_mean_scores(atlas)}
    for layer, found in atlas.layers.items():
        row[names.dead_maps(layer)] = int((found.activations[:, 0] <= 0).sum())
    if isinstance(logger, WandbLogger):
        # Imported here: most runs of a notebook or a test have no use for it.
        import wandb

        run = logger.experiment

        def as_image(layer: str) -> Any:
            return wandb.Image(str(pictures[layer]), caption=captions[layer])

        # It decodes each, to know its size, while other threads run.
        with ThreadPoolExecutor(available_cores()) as threads:
            images = threads.map(as_image, pictures)
            row |= {f"probe/{layer}": image for layer, image in zip(pictures, images, strict=True)}
        for name in row.keys() - {EPOCH}:
            run.define_metric(name, step_metric=EPOCH)
    logger.log_metrics(row, step)
    if isinstance(logger, WandbLogger):
        for layer, path in pictures.items():
            for copy in Path(logger.experiment.dir, "media", "images").glob(f"probe/{layer}_*"):
                share(path, copy)
    elif isinstance(logger, TensorBoardLogger):
        for layer, path in pictures.items():
            with Image.open(path) as picture:
                pixels = numpy.asarray(picture.convert("RGB"))
            logger.experiment.add_image(f"probe/{layer}", pixels, step, dataformats="HWC")
            logger.experiment.add_text(f"probe/{layer}", captions[layer], step)
