"""Watches feature maps while a network trains, and projects what excites them (Fig. 2)."""

import functools
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy
import torch
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image
from torch import Tensor

from zf_lightning.data import Batch, ImageDataModule, LabelledImages
from zf_lightning.data.crops import centre_crop
from zf_lightning.deconv import Atlas, Deconvnet, ImageBatch, TopActivations, build_atlas
from zf_lightning.errors import UserError
from zf_lightning.module import ImageClassifier
from zf_lightning.report import atlas_panel, write_report

log = logging.getLogger(__name__)

#: An activation of the validation is found again to this, in float32.
TOLERANCE = 1e-4
#: Under mixed precision the recorded activation has the 8 bits of bfloat16 in every layer below.
TOLERANCE_MIXED = 5e-2


class DeconvProbe(lightning.Callback):
    """Each epoch, the images that excite each feature map most, projected back to pixels.

    The strongest images of every feature map are found on the forward passes that the validation
    makes anyway; only the winners of the feature maps to be drawn go through the network again.
    The probe observes: losses, mode, random state and hooks of the network stay as they are.

    Args:
        folder: the run's folder: `atlas/`, `figures/` and `report/` are written in it.
        layers: names of the layers, or `conv` for all convolutional ones.
        maps: the feature maps to be drawn of each layer: a number (a random subset, as in the
            paper), a list, or `all`.
        top: how many images of each feature map (9 in the paper).
        every_n_epochs: draw after every so many epochs, and after the last of
            `trainer.max_epochs`.
        seed: decides the random subset: the same maps in every epoch.
        rule, norm: how the deconvnet reverses, see `zf_lightning.deconv.Mode`.

    Raises:
        UserError: a layer or feature map does not exist, or an option is not legal.
    """

    def __init__(
        self,
        *,
        folder: str | Path,
        layers: str | Sequence[str] = "conv",
        maps: int | str | Sequence[int] = 9,
        top: int = 9,
        every_n_epochs: int = 1,
        seed: int = 0,
        rule: Any = "deconvnet",
        norm: Any = "identity",
    ) -> None:
        if every_n_epochs < 1:
            raise UserError("probe.every_n_epochs must be at least 1.")
        self.folder = Path(folder)
        self.layers = layers
        self.maps = maps
        self.top = top
        self.every_n_epochs = every_n_epochs
        self.seed = seed
        self.rule = rule
        self.norm = norm
        self.seconds_watching = 0.0
        self.seconds_drawing = 0.0
        self._began = 0.0
        self._top: TopActivations | None = None
        self._deconvnet: Deconvnet | None = None
        self._drawn: dict[str, list[int]] = {}

    def setup(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str
    ) -> None:
        """Choose layers and feature maps; a mistake in them is known before any training."""
        if stage != "fit":
            return
        classifier = _classifier(pl_module)
        deconvnet = Deconvnet(classifier.network, rule=self.rule, norm=self.norm)
        try:
            layers = deconvnet.find_layers(self.layers)
        except UserError as mistake:
            raise UserError(f"probe.layers: {mistake.sentence}") from None
        size = classifier.preprocessing.input_size
        try:
            shapes = deconvnet.shapes(layers, (size, size))
        except UserError as mistake:
            raise UserError(
                f"{mistake.sentence} callbacks.probe=null trains without looking inside."
            ) from mistake
        counts = {layer: shape[0] for layer, shape in shapes.items()}
        self._deconvnet = deconvnet
        self._top = TopActivations(counts, k=self.top)
        self._drawn = {
            layer: chosen_maps(self.maps, count, layer=layer, seed=self.seed)
            for layer, count in counts.items()
        }

    def on_fit_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Start the clock that the cost is compared with."""
        self._began = time.monotonic()
        assert self._top is not None
        self._top.to(pl_module.device)

    def on_validation_epoch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Ask the validation for its feature maps, in the epochs that are drawn."""
        if not self._due(trainer):
            return
        assert self._top is not None and self._deconvnet is not None
        self._top.reset()
        _classifier(pl_module).watch = functools.partial(
            self._deconvnet.with_feature_maps, layers=tuple(self._top.feature_maps)
        )

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take in the feature maps of a batch."""
        if _classifier(pl_module).watch is None:
            return
        assert self._top is not None
        if pl_module.device.type == "cuda":
            # The forward pass is still under way: its time is not the probe's.
            torch.cuda.synchronize(pl_module.device)
        began = time.monotonic()
        self._top.update(outputs, batch.indices, batch.valid)
        self.seconds_watching += time.monotonic() - began

    def on_validation_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Project the winners and write atlas, figures and report."""
        classifier = _classifier(pl_module)
        if classifier.watch is None:
            return
        classifier.watch = None
        assert self._top is not None
        began = time.monotonic()
        # On every process: it brings the winners of all together.
        top = self._top.compute()
        if trainer.is_global_zero:
            atlas = self._atlas(trainer, classifier, top)
            self._write(trainer, atlas)
        self.seconds_drawing += time.monotonic() - began

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Say what the probe cost."""
        whole = time.monotonic() - self._began
        cost = self.seconds_watching + self.seconds_drawing
        if trainer.is_global_zero and cost:
            log.info(
                f"The probe took {cost:.1f} s of {whole:.1f} s ({100 * cost / whole:.1f} %): "
                f"{self.seconds_watching:.1f} s for finding the strongest images, "
                f"{self.seconds_drawing:.1f} s for projecting and drawing them."
            )

    def _due(self, trainer: lightning.Trainer) -> bool:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return False
        done = trainer.current_epoch + 1
        return done % self.every_n_epochs == 0 or done == trainer.max_epochs

    def _atlas(
        self, trainer: lightning.Trainer, classifier: ImageClassifier, top: dict[str, Any]
    ) -> Atlas:
        assert self._deconvnet is not None
        files = _validation_files(trainer)
        size = classifier.preprocessing.input_size
        mixed = trainer.precision not in ("32-true", "64-true")
        atlas = build_atlas(
            self._deconvnet,
            top,
            lambda indices: load_winners(files, indices, classifier),
            input_size=(size, size),
            maps=self._drawn,
            label_of=lambda index: files.labels[index],
            epoch=trainer.current_epoch,
            classes=classifier.class_names,
            tolerance=TOLERANCE_MIXED if mixed else TOLERANCE,
        )
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
        return atlas

    def _write(self, trainer: lightning.Trainer, atlas: Atlas) -> None:
        assert atlas.epoch is not None
        name = f"epoch={atlas.epoch + 1:03}"
        atlas.save(self.folder / "atlas" / f"{name}.safetensors")
        (self.folder / "figures").mkdir(exist_ok=True)
        for layer in atlas.layers:
            panel = atlas_panel(atlas, layer)
            path = self.folder / "figures" / f"{name}_{layer}.png"
            # Half the time of the usual level 6, and 5 % more bytes.
            panel.save(path, compress_level=3)
            for logger in trainer.loggers:
                _log_picture(logger, f"probe/{layer}", path, _caption(atlas, layer), trainer)
        write_report(self.folder)


def chosen_maps(maps: int | str | Sequence[int], count: int, *, layer: str, seed: int) -> list[int]:
    """The feature maps of a layer of `count` to be drawn, ascending.

    A number is a random subset that depends on the seed and the layer's name alone.
    Raises UserError for something else than a number, a list of existing maps, or `all`.
    """
    if maps == "all":
        return list(range(count))
    if isinstance(maps, int) and maps > 0:
        generator = torch.Generator().manual_seed(seed + sum(layer.encode()))
        return sorted(torch.randperm(count, generator=generator)[:maps].tolist())
    if isinstance(maps, str | int) or not all(isinstance(number, int) for number in maps):
        raise UserError(f"probe.maps={maps} is neither a number, a list of numbers, nor all.")
    missing = [number for number in maps if not 0 <= number < count]
    if missing:
        raise UserError(f"probe.maps: {layer} has {count} feature maps, and no map {missing[0]}.")
    return sorted(set(maps))


def load_winners(
    files: LabelledImages, indices: Sequence[int], classifier: ImageClassifier
) -> ImageBatch:
    """Images of a split, as the network saw their centre crops and as a person looks at them."""
    samples = [files[index] for index in indices]
    images = torch.stack([image for image, *_ in samples])
    return image_batch(images, torch.tensor([label for _, label, *_ in samples]), classifier)


def image_batch(images: Tensor, labels: Tensor, classifier: ImageClassifier) -> ImageBatch:
    """Samples uint8 `[N, 3, 256, 256]` as the network takes them and as a person looks at them."""
    images, preprocessing = images.to(classifier.device), classifier.preprocessing
    return ImageBatch(
        display=centre_crop(preprocessing.resize(images), preprocessing.input_size).cpu(),
        inputs=preprocessing(images),
        labels=labels,
    )


def _classifier(module: lightning.LightningModule) -> ImageClassifier:
    if not isinstance(module, ImageClassifier):
        raise UserError("DeconvProbe watches a zf_lightning ImageClassifier.")
    return module


def _validation_files(trainer: lightning.Trainer) -> LabelledImages:
    data: Any = getattr(trainer, "datamodule", None)
    assert isinstance(data, ImageDataModule)
    return data.source.split("val")


def _caption(atlas: Atlas, layer: str) -> str:
    found = atlas.layers[layer]
    maps = ", ".join(
        f"{number} ({found.activations[number, 0]:.3g})" for number in found.drawn.tolist()
    )
    assert atlas.epoch is not None
    return f"{layer}, epoch {atlas.epoch + 1}; feature maps and their strongest activations: {maps}"


def _log_picture(
    logger: Any, key: str, path: Path, caption: str, trainer: lightning.Trainer
) -> None:
    if isinstance(logger, WandbLogger):
        logger.log_image(key, [str(path)], caption=[caption])
    elif isinstance(logger, TensorBoardLogger):
        with Image.open(path) as picture:
            pixels = numpy.asarray(picture.convert("RGB"))
        logger.experiment.add_image(key, pixels, trainer.global_step, dataformats="HWC")
        logger.experiment.add_text(key, caption, trainer.global_step)
