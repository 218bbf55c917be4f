"""The LightningModule: training, validation and test of a network."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional

from zf_lightning.config.instantiate import instantiate
from zf_lightning.data import Batch, PixelStatistics, Preprocessing
from zf_lightning.data.crops import CENTRE_CROP, TEN
from zf_lightning.errors import DamagedFile, UserError
from zf_lightning.results import metric_names as names
from zf_lightning.training.checkpoint_file import read_checkpoint
from zf_lightning.training.metrics import ClassificationError, ScoredModule
from zf_lightning.training.network import build_network

#: From a network's input to its logits, and to the feature maps of some layers.
Capture = Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]
#: The crops of the test at the end, by split. With one crop, the epochs have logged the errors of
#: `val` already: no second value at this step.
LAST_CROPS = {"train": names.CENTRE_CROP, "val": names.TENCROP, "test": names.TENCROP}


class ImageClassifier(ScoredModule):
    """A network with its preprocessing, trained with the cross-entropy loss (Sec. 3).

    All arguments but `statistics` are plain data, so that a checkpoint holds them and
    `ImageClassifier.load_from_checkpoint(path)` needs nothing else.

    Args:
        model: the options of `conf/model`, the ablation applied.
        class_names: in the order of the labels.
        optimizer, scheduler: the options of `conf/optimizer` and `conf/scheduler`.
        seed: decides crops and dropout.
        description: further facts for the checkpoint (the whole configuration).
        statistics: of the training set; a checkpoint brings its own.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        class_names: Sequence[str],
        *,
        optimizer: Mapping[str, Any] | None = None,
        scheduler: Mapping[str, Any] | None = None,
        seed: int = 0,
        description: Mapping[str, Any] | None = None,
        statistics: PixelStatistics | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["statistics"], logger=False)
        self.class_names = tuple(class_names)
        self.seed = seed
        # The first weights depend on the seed alone, not on what was drawn before.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = build_network(model, classes=len(class_names))
        self.preprocessing = Preprocessing(
            input_size=model["input_size"], **model["preprocessing"], statistics=statistics
        )
        #: Runs the network and hands its feature maps to the callbacks of the validation.
        self.capture: Capture | None = None
        self.train_error = ClassificationError()
        # Not the one above, which a checkpoint in mid-epoch brings along.
        self.train_error_centre_crop = ClassificationError()
        self.val_error = ClassificationError()
        self.val_error_tencrop = ClassificationError(per_image=True)
        self.test_error = ClassificationError()
        self.test_error_tencrop = ClassificationError(per_image=True)
        #: The split that each data loader of a test delivers.
        self.tested_splits: tuple[str, ...] = ("test",)
        #: Of the last test: by split, whether the ten crops of an image together were wrong.
        self.wrong_by_image: dict[str, dict[int, bool]] = {}
        #: And the class that they answered.
        self.answers_by_image: dict[str, dict[int, int]] = {}

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, map_location: Any = "cpu", **parameters: Any
    ) -> Self:
        """The classifier of a checkpoint; `parameters` replace those that it was made with.

        Lightning's own does not check the file, and calls what it names.
        Raises UserError for a file that `read_checkpoint` refuses.
        """
        path = Path(checkpoint_path)
        checkpoint = read_checkpoint(path, map_location=map_location)
        known = inspect.signature(cls).parameters
        given = {**checkpoint["hyper_parameters"], **parameters}
        classifier = cls(**{name: value for name, value in given.items() if name in known})
        try:
            classifier.load_state_dict(checkpoint["state_dict"])
        except RuntimeError as problem:
            reason = " ".join(str(problem).split())
            raise DamagedFile.at(path, f"its weights and its model disagree: {reason}") from problem
        classifier.on_load_checkpoint(checkpoint)
        return classifier

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities `[N, classes]` of uint8 images `[N, 3, 256, 256]`, from the centre crop."""
        return self.network(self.preprocessing(images)).float().softmax(1)

    def crop_probabilities(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities `[N, classes]` from the centre crop, and their mean over the ten crops."""
        centre = total = torch.zeros((), device=images.device)
        for number, crops in enumerate(self.preprocessing.ten_crops(images)):
            probabilities = self.network(crops).float().softmax(1)
            if number == CENTRE_CROP:
                centre = probabilities
            total = total + probabilities
        return centre, total / TEN

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The loss of a random crop of each sample."""
        # Dropout is a function of (seed, step, batch, process): a resumed run draws the same masks
        # without any stored random state, and processes differ.
        torch.manual_seed(_combine(self.seed, self.global_step, batch_index, self.global_rank))
        images = self.preprocessing.random_crops(
            batch.images, batch.indices, seed=self.seed, epoch=self.current_epoch
        )
        logits = self.network(images)
        losses = functional.cross_entropy(logits.float(), batch.labels, reduction="none")
        loss = (losses * batch.weights).mean()
        with torch.no_grad():
            self.train_error.update(logits.float().softmax(1), batch.labels, batch.valid)
        self.log(names.TRAIN_LOSS, loss, prog_bar=True, batch_size=len(batch.labels))
        self.log(names.LEARNING_RATE, self.trainer.optimizers[0].param_groups[0]["lr"])
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the training error of the epoch: on random crops, with dropout, while it changed."""
        self.log(names.TRAIN_TOP1, self.train_error.compute()["top1_error"])
        self.train_error.reset()
        self.log_bad_files("train", self.trainer.train_dataloader)

    def validation_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        """Score the centre crop of each sample; returns the feature maps that `capture` keeps."""
        images = self.preprocessing(batch.images)
        logits, outputs = self.capture(images) if self.capture else (self.network(images), {})
        self.val_error.update(logits.float().softmax(1), batch.labels, batch.valid)
        return outputs

    def on_validation_epoch_end(self) -> None:
        """Log errors and loss of the validation images; step a plateau schedule."""
        values = self.log_error("val", self.val_error, prog_bar=True)
        self.log_bad_files("val", self.trainer.val_dataloaders)
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            for config in self.trainer.lr_scheduler_configs:
                if config.reduce_on_plateau:
                    config.scheduler.step(values[str(config.monitor)])  # type: ignore[arg-type]

    def test_step(self, batch: Batch, batch_index: int, dataloader_idx: int = 0) -> None:
        """Score the centre crop, and the mean of the softmax over the ten crops, of each sample.

        Of training images only the centre crop: the paper's training error needs no more.
        """
        split = self.tested_splits[dataloader_idx]
        error, known = self._last_error(split), (batch.labels, batch.valid)
        if split == "train":
            error.update(self(batch.images), *known)
            return
        centre, probabilities = self.crop_probabilities(batch.images)
        if split == "test":
            self.test_error.update(centre, *known)
        error.update(probabilities, *known, batch.indices)

    def on_test_epoch_end(self) -> None:
        """Log top-1 and top-5 error of each split that was tested."""
        loaders = self.trainer.test_dataloaders
        loaders = loaders if isinstance(loaders, list) else [loaders]
        for split, loader in zip(self.tested_splits, loaders, strict=True):
            if split == "test":
                self.log_error(split, self.test_error)
            if split != "train":
                self.wrong_by_image[split] = self._last_error(split).wrong_by_image()
                self.answers_by_image[split] = self._last_error(split).answers_by_image()
            self.log_error(split, self._last_error(split), suffix=LAST_CROPS[split])
            self.log_bad_files(split, loader, suffix="" if split == "test" else LAST_CROPS[split])

    def _last_error(self, split: str) -> ClassificationError:
        return getattr(self, f"{split}_error{LAST_CROPS[split]}")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser and schedule of the configuration."""
        if self.hparams["optimizer"] is None:
            raise UserError("This classifier was made without an optimizer; it can only be tested.")
        optimizer = instantiate(self.hparams["optimizer"], params=list(self.network.parameters()))
        scheduler = self.hparams["scheduler"]
        if scheduler is None:
            return optimizer
        options: dict[str, Any] = {}
        if scheduler["interval"] == "step":
            steps = self.trainer.estimated_stepping_batches
            if steps == float("inf"):
                raise UserError(
                    "A schedule over steps needs an end: give trainer.max_epochs or "
                    "trainer.max_steps, or take scheduler=plateau."
                )
            options["total_steps"] = max(1, int(steps))
        settings: dict[str, Any] = {
            "scheduler": instantiate(scheduler["schedule"], optimizer=optimizer, **options),
            "interval": scheduler["interval"],
        }
        if scheduler["monitor"] is not None:
            settings["monitor"] = scheduler["monitor"]
            # Stepped in `on_validation_epoch_end`: Lightning would do it after the checkpoint of
            # the epoch was written, and a run resumed from there would have lost the step.
            settings["frequency"] = 2**31
        return {"optimizer": optimizer, "lr_scheduler": settings}  # type: ignore[return-value]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the errors of these weights, and the counts of an unfinished epoch."""
        checkpoint["metrics"] = {
            name: float(value) for name, value in self.trainer.callback_metrics.items()
        }
        checkpoint["train_error"] = self.train_error.totals()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the counts of the training error."""
        self.train_error.reset()
        if self.global_rank == 0:
            self.train_error.load_totals(checkpoint.get("train_error", {}))


def _combine(*numbers: int) -> int:
    """One seed of several numbers; different numbers give unrelated seeds."""
    seed = 0
    for number in numbers:
        seed = (seed * 0x9E3779B97F4A7C15 + number + 1) & ((1 << 63) - 1)
        seed ^= seed >> 31
    return seed
