"""One pass over images on all devices of a Trainer; saved from time to time, it can be resumed."""

import logging
import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from omegaconf import DictConfig
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from zf_lightning.data import Batch, BatchLoader, ImageDataModule, LabelledFiles
from zf_lightning.errors import DamagedFile, UserError
from zf_lightning.system.compat import mark_updated
from zf_lightning.system.sealed import read_tensors, write_tensors
from zf_lightning.training.metrics import ScoredModule

log = logging.getLogger(__name__)


class ImagePass(ScoredModule):
    """Hands each image once to `take`, in batches on as many processes as the Trainer has.

    It is Lightning's validation: the Trainer launches the processes and deals the batches.

    Args:
        save_every: seconds; None: never before the end.
    """

    def __init__(self, *, save_every: float | None = None) -> None:
        super().__init__()
        self.save_every = save_every
        #: Batches taken, of all parts of an interrupted pass.
        self.batches = 0
        self._saved = 0.0

    @abstractmethod
    def take(self, batch: Batch) -> None:
        """Take in the valid samples of a batch."""

    def load(self, *, first: bool) -> int:
        """Restore a saved pass; returns how many batches it has seen.

        The `first` process resumes with what all had found, the others with nothing.
        """
        return 0

    def save(self) -> None:
        """Save what all processes have found; called on each of them, after the same batch."""

    def run(self, trainer: lightning.Trainer, loader: BatchLoader) -> None:
        """Go over the images of `loader`; resumes an interrupted pass."""
        self.batches = self.load(first=trainer.is_global_zero)
        loader.load_state_dict({**loader.state_dict(), "batches": self.batches})
        self._saved = time.monotonic()
        trainer.validate(self, loader, verbose=False)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Take in one batch; save when the time has come."""
        self.take(batch)
        self.batches += 1
        if self.save_every is None:
            return
        due = time.monotonic() - self._saved > self.save_every
        if self.trainer.strategy.reduce_boolean_decision(due, all=False):
            self.save()
            self._saved = time.monotonic()

    def on_validation_epoch_end(self) -> None:
        """Save all that was found."""
        self.save()
        self.log_bad_files("val", self.trainer.val_dataloaders)


class MetricPass(ImagePass):
    """What the processes find is the state of a metric, which merges it.

    It is saved in one file: any number of processes can resume.

    Args:
        metric: its states are persistent.
        file: the saved pass; one with another `key` is refused.
        key: a digest of all that the outcome depends on, the order of the images included.
        kind: what the file is (`read_tensors`).
        save_every: seconds.
        other: a sentence for a file with another key.
    """

    def __init__(
        self,
        metric: Metric,
        *,
        file: Path,
        key: str,
        kind: str,
        other: str,
        save_every: float = 60.0,
    ) -> None:
        super().__init__(save_every=save_every)
        self.metric = metric
        self.file, self.key, self.kind, self.other = file, key, kind, other
        #: Images seen by all processes, of those that could be read.
        self.images = 0
        #: What the metric says of all images.
        self.found: Any = None
        self._images_here = 0

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Count the images of a batch, too."""
        self._images_here += int(batch.valid.sum())
        super().validation_step(batch, batch_index)

    def on_validation_epoch_end(self) -> None:
        """Merge what all processes have found, and save it."""
        super().on_validation_epoch_end()
        self.found = self.metric.compute()

    def more_tensors(self) -> dict[str, Tensor]:
        """What else is saved, of all processes; called on each, with the merged metric."""
        return {}

    def load_more(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore `more_tensors`, on one process."""

    def save(self) -> None:
        """Save the merged state, on the first process."""
        strategy = self.trainer.strategy
        images = torch.tensor(self._images_here, device=self.device)
        self.images = int(strategy.reduce(images, reduce_op="sum"))
        with self.metric.sync_context():
            state = self.metric.state_dict()
            tensors = {f"metric/{name}": dim_zero_cat(value) for name, value in state.items()}
            tensors |= self.more_tensors()
        if self.trainer.is_global_zero:
            header = {"key": self.key, "batches": self.batches, "images": self.images}
            write_tensors(self.file, self.kind, tensors, header)

    def load(self, *, first: bool) -> int:
        """Restore the merged state, on the first process.

        Raises UserError if the file belongs to another pass.
        """
        try:
            header, tensors = read_tensors(self.file, self.kind)
            if not {"key", "batches", "images"} <= set(header):
                raise DamagedFile.at(self.file)
        except FileNotFoundError:
            return 0
        except DamagedFile as damage:
            log.warning(f"{damage} It begins anew.")
            return 0
        if header["key"] != self.key:
            raise UserError(self.other)
        mark_updated(self.metric, header["batches"])
        if first:
            prefix = "metric/"
            state: dict[str, Any] = {
                name.removeprefix(prefix): value
                for name, value in tensors.items()
                if name.startswith(prefix)
            }
            for name, value in state.items():
                if isinstance(getattr(self.metric, name), list):
                    state[name] = [value]
            self.metric.load_state_dict(state)
            self.load_more(tensors)
            self._images_here = header["images"]
        return int(header["batches"])


class RowsByImage(Metric):
    """Rows of float32 `[n, D]`, any number for each image, in the order of the images.

    Args:
        width: D.
    """

    full_state_update = False
    indices: list[Tensor]
    rows: list[Tensor]

    def __init__(self, width: int) -> None:
        super().__init__(compute_with_cache=False)
        for name in ("indices", "rows"):
            self.add_state(name, [], dist_reduce_fx="cat", persistent=True)
        # A process that sees no image has the same states as the others.
        self.update(torch.empty(0, dtype=torch.int64), torch.empty(0, width))

    def update(self, indices: Tensor, rows: Tensor) -> None:
        """Add the rows `[n, D]` of the images `indices` `[n]`."""
        self.indices.append(indices)
        self.rows.append(rows)

    def compute(self) -> tuple[Any, Any]:
        """The images int64 `[N]`, ascending, and their rows `[N, D]`, as arrays."""
        # As tensors, torchmetrics would squeeze them where they hold a single element.
        indices, rows = dim_zero_cat(self.indices).cpu(), dim_zero_cat(self.rows).cpu()
        order = indices.argsort(stable=True)
        return indices[order].numpy(), rows[order].numpy()


@dataclass(frozen=True)
class _OnlySplit:
    """The files of a pass as a source of images."""

    files: LabelledFiles

    def split(self, _: str) -> LabelledFiles:
        return self.files


def pass_loader(
    config: DictConfig, files: LabelledFiles, trainer: lightning.Trainer
) -> BatchLoader:
    """Batches of some files in their order, dealt to the processes of a Trainer.

    Unreadable files have a weight of NaN: see `check_readable`.
    """
    source: Any = _OnlySplit(files)
    data = ImageDataModule(source, batch_size=config.data.batch_size, workers=config.data.workers)
    data.trainer = trainer
    loader = data.evaluation_loader("test", in_order=True)
    loader.bad_files = None
    return loader


def check_readable(batch: Batch, files: LabelledFiles) -> None:
    """Raise UnreadableImage for the first file of a batch that could not be read."""
    for index in batch.indices[batch.weights.isnan()].tolist():
        files[index]
