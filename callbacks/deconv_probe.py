"""The probe: what excites each feature map while a network trains, projected (Fig. 2)."""

import functools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from zf_lightning.atlas import Atlas, TopActivations, TopImages, build_atlas
from zf_lightning.atlas.room import check_room
from zf_lightning.callbacks.atlas_pictures import atlas_file, warn_of, write_atlas
from zf_lightning.callbacks.fast_network import FastNetwork
from zf_lightning.callbacks.training_candidates import TrainingCandidates
from zf_lightning.data import Batch, ImageDataModule, LabelledImages, Split
from zf_lightning.deconv import Deconvnet
from zf_lightning.errors import UserError
from zf_lightning.inspection.scoring import build_scorer
from zf_lightning.inspection.top_images import (
    ReadOnce,
    chosen_maps,
    images_at_once,
    load_top_images,
    load_training_top_images,
)
from zf_lightning.training.module import Capture, ImageClassifier

log = logging.getLogger(__name__)

#: An activation of the validation is found again to this, in float32.
TOLERANCE = 1e-4
#: Under mixed precision the recorded activation has the 8 bits of bfloat16 in every layer below;
#: with a GPU's TF32, PyTorch's default for float32 convolutions, 10.
TOLERANCE_MIXED = 5e-2


@dataclass(kw_only=True, eq=False)
class DeconvProbe(Callback):
    """Each epoch, the images that excite each feature map most, projected back to pixels.

    The top-k images of every feature map are found on the forward passes of the validation itself;
    only those of the feature maps to be drawn go through the network again. Losses, mode, random
    state and hooks of the network stay as they are.

    Args:
        folder: the run's folder: `atlas/`, `figures/` and `report/` are written in it.
        layers: names of the layers, or `conv` for all convolutional ones.
        maps: the feature maps to draw of each layer: a number (a random subset, as in the paper),
            a list, or `all`.
        top: number of images of each feature map (9 in the paper).
        every_n_epochs: draw after every so many epochs, and after the last of
            `trainer.max_epochs`.
        split: `val`, or `train` for the top training images, cropped and mirrored as in the epoch:
            see `callbacks.training_candidates`.
        seed: decides the random subset: the same maps in every epoch.
        method, norm: how a signal goes backward, see `zf_lightning.deconv.Method`.
        cross_check: see `zf_lightning.deconv.Deconvnet`.
        keep_tiles: of which epochs the atlas has the patches and projections of all top images:
            `all`, or `last`, when the training ends; the others have those of each feature map's
            strongest image, and their pictures show all.
        scores: numbers beside the pictures, of every map that is drawn, and as curves by layer:
            see `zf_lightning.analysis.map_scores`.
        score_every_n_epochs: measure them after every so many epochs that are drawn, and after the
            last; 0: after the last alone.

    Raises:
        UserError: a layer or feature map does not exist, or an option is not legal.
    """

    folder: str | Path
    layers: str | Sequence[str] = "conv"
    maps: int | str | Sequence[int] = 9
    top: int = 9
    every_n_epochs: int = 1
    split: Split = "val"
    seed: int = 0
    method: Any = "deconvnet"
    norm: Any = "identity"
    cross_check: bool = True
    keep_tiles: str = "last"
    scores: Sequence[str] = ("alike",)
    score_every_n_epochs: int = 0

    def __post_init__(self) -> None:
        self.seconds_capturing = self.seconds_drawing = 0.0
        # The rest of the state is made by `setup`.
        self._deconvnet: Deconvnet
        self._top: TopActivations
        self._drawn: dict[str, list[int]]
        self._capture: Capture
        self._training: TrainingCandidates | None = None
        self._began = 0.0
        #: Half of an epoch's images, or more, are also among the strongest of the next.
        self._read_once: ReadOnce
        #: Of the last epoch drawn, until the training ends.
        self._newest: Atlas | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Choose layers and feature maps; a mistake in them is reported before any training."""
        if stage != "fit":
            return
        classifier = _classifier(pl_module)
        size = classifier.preprocessing.input_size
        deconvnet = Deconvnet(
            classifier.network,
            method=self.method,
            norm=self.norm,
            batch_size=images_at_once(size),
            cross_check=self.cross_check,
        )
        try:
            layers = deconvnet.find_layers(self.layers)
        except UserError as mistake:
            raise UserError(f"probe.layers: {mistake.sentence}") from None
        try:
            shapes = deconvnet.shapes(layers, (size, size))
        except UserError as mistake:
            raise UserError(
                f"{mistake.sentence} callbacks.probe=null trains without looking inside."
            ) from mistake
        counts = {layer: shape[0] for layer, shape in shapes.items()}
        self._drawn = {
            layer: chosen_maps(self.maps, count, layer=layer, seed=self.seed)
            for layer, count in counts.items()
        }
        check_room(
            "probe.top",
            self.top,
            counts,
            deconvnet.receptive_fields(layers, (size, size)),
            drawn=self._drawn,
            on_disk=self._drawn,
            folder=self.folder,
            tables=trainer.num_devices * (2 if self.split == "train" else 1),
        )
        self._deconvnet = deconvnet
        self._capture = functools.partial(deconvnet.with_feature_maps, layers=tuple(layers))
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        if any(isinstance(one, FastNetwork) and one.compile for one in callbacks):
            self._capture = deconvnet.compiled_with_feature_maps(layers)
        self._top = TopActivations(counts, k=self.top)
        if self.split == "train":
            try:
                self._training = TrainingCandidates(deconvnet, counts, top=self.top)
            except UserError as mistake:
                raise UserError(f"probe.split=train: {mistake.sentence}") from None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock that the cost is compared with."""
        self._began = time.monotonic()
        self._read_once = ReadOnce(_files(trainer, self.split))
        self._top.to(pl_module.device)
        if self._training is not None:
            self._training.to(pl_module.device, first=trainer.is_global_zero)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Capture the step's forward pass, if the training images are asked for."""
        if self._training is not None and self._due(trainer):
            self._training.expect(batch, epoch=trainer.current_epoch)

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """Take in the feature maps of the step."""
        if self._training is not None:
            began = _now(pl_module)
            self._training.take()
            self.seconds_capturing += time.monotonic() - began

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Run the candidates again, with the weights as they are now."""
        if self._training is None or not self._due(trainer):
            return
        began = time.monotonic()
        top = self._training.top_images(
            _files(trainer, "train"),
            _classifier(pl_module),
            rank=trainer.global_rank,
            processes=trainer.world_size,
        )
        self._draw(trainer, _classifier(pl_module), top, began)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Stop capturing in the middle of a step."""
        if self._training is not None:
            self._training.stop()

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint in mid-epoch: the candidates among the training images so far."""
        return {} if self._training is None else self._training.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`; Lightning calls it after `setup`."""
        if self._training is not None and state_dict:
            self._training.load_state_dict(state_dict)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask the validation for its feature maps, in the epochs that are drawn."""
        if self._training is not None or not self._due(trainer):
            return
        self._top.reset()
        _classifier(pl_module).capture = self._capture

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take in the feature maps of a batch."""
        if _classifier(pl_module).capture is None:
            return
        began = _now(pl_module)
        self._top.update(outputs, batch.indices, batch.valid)
        self.seconds_capturing += time.monotonic() - began

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Project the top-k images and write atlas, figures and report."""
        classifier = _classifier(pl_module)
        if classifier.capture is None:
            return
        classifier.capture = None
        began = time.monotonic()
        # On every process: it gathers the top-k images of all.
        self._draw(trainer, classifier, self._top.compute(), began)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep all tiles of the last epoch, and say what the probe cost."""
        began = time.monotonic()
        if self._newest is not None:
            try:
                self._newest.save(atlas_file(self._newest, Path(self.folder)))
            except OSError as problem:
                log.warning(f"Not all tiles of the last epoch could be written: {problem}")
            self._newest = None
        # Up to 200 MB of images.
        del self._read_once
        self.seconds_drawing += time.monotonic() - began
        whole = time.monotonic() - self._began
        cost = self.seconds_capturing + self.seconds_drawing
        if trainer.is_global_zero and cost:
            log.info(
                f"The probe took {cost:.1f} s of {whole:.1f} s ({100 * cost / whole:.1f} %): "
                f"{self.seconds_capturing:.1f} s for finding the top images, "
                f"{self.seconds_drawing:.1f} s for projecting and drawing them."
            )

    def _due(self, trainer: Trainer) -> bool:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return False
        done = trainer.current_epoch + 1
        return done % self.every_n_epochs == 0 or done == trainer.max_epochs

    def _scores_due(self, trainer: Trainer) -> bool:
        done, every = trainer.current_epoch + 1, self.score_every_n_epochs
        return done == trainer.max_epochs or (every > 0 and done % every == 0)

    def _draw(
        self, trainer: Trainer, classifier: ImageClassifier, top: dict[str, TopImages], began: float
    ) -> None:
        if trainer.is_global_zero:
            atlas = self._atlas(trainer, classifier, top)
            try:
                # The step under which Lightning logs the validation: the last one that was done.
                step = max(0, trainer.global_step - 1)
                whole = self.keep_tiles == "all"
                folder, loggers = Path(self.folder), trainer.loggers
                write_atlas(atlas, folder, loggers=loggers, step=step, whole=whole)
                self._newest = None if whole else atlas
            except (OSError, ValueError) as problem:
                # The training is worth more than its pictures, which may also be too large for
                # their format, or beside a file that is damaged.
                log.warning(f"The pictures of this epoch could not be written: {problem}")
        self.seconds_drawing += time.monotonic() - began

    def _atlas(
        self, trainer: Trainer, classifier: ImageClassifier, top: dict[str, TopImages]
    ) -> Atlas:
        files = _files(trainer, self.split)
        load = load_top_images
        if self.split == "train":
            load = functools.partial(load_training_top_images, epoch=trainer.current_epoch)
        size = classifier.preprocessing.input_size
        mixed = trainer.precision not in ("32-true", "64-true")
        if classifier.device.type == "cuda":
            # The validation's own convolutions: less exact than float32 says.
            mixed |= torch.backends.cudnn.allow_tf32
        atlas = build_atlas(
            self._deconvnet,
            top,
            lambda indices: load(self._read_once, indices, classifier),
            input_size=(size, size),
            maps=self._drawn,
            label_of=lambda index: files.labels[index],
            name_of=lambda index: files.names[index],
            epoch=trainer.current_epoch,
            classes=classifier.class_names,
            split=self.split,
            tolerance=TOLERANCE_MIXED if mixed else TOLERANCE,
            scorer=build_scorer(
                self.scores if self._scores_due(trainer) else (),
                self._deconvnet,
                classifier,
                self._drawn,
                files,
                seed=self.seed,
            ),
        )
        warn_of(atlas)
        return atlas


def _classifier(module: LightningModule) -> ImageClassifier:
    if not isinstance(module, ImageClassifier):
        raise UserError("DeconvProbe needs a zf_lightning ImageClassifier.")
    return module


def _now(module: LightningModule) -> float:
    if module.device.type == "cuda":
        # The forward pass is still under way: its time is not the probe's.
        torch.cuda.synchronize(module.device)
    return time.monotonic()


def _files(trainer: Trainer, split: Split) -> LabelledImages:
    data: Any = getattr(trainer, "datamodule", None)
    assert isinstance(data, ImageDataModule)
    return data.source.split(split)
