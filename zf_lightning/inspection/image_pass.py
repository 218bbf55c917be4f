"""One pass over images on all devices of a Trainer; saved from time to time, it can be resumed."""

import logging
import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from zf_lightning.data import Batch, BatchLoader
from zf_lightning.errors import DamagedFile, UserError
from zf_lightning.system.compat import mark_updated
from zf_lightning.system.sealed import read_tensors, write_tensors
from zf_lightning.training.metrics import ScoredModule

log = logging.getLogger(__name__)


class ImagePass(ScoredModule):
    """Hands each image once to `take`, in batches on as many processes as the Trainer has.

    It is Lightning's validation. What the processes find is the state of `metric`, which merges it.
    All of them save after the same batch, in one file: any number of processes can resume.

    Args:
        metric: its states are persistent.
        file: the saved pass; one with another `key` is refused.
        key: a digest of all that the outcome depends on, the order of the images included.
        kind: what the file is (`read_tensors`).
        save_every: seconds.
        other: a sentence for a file with another key.
    """

    def __init__(
        self, metric: Metric, *, file: Path, key: str, kind: str, save_every: float, other: str
    ) -> None:
        super().__init__()
        self.metric = metric
        self.file, self.key, self.kind = file, key, kind
        self.save_every, self.other = save_every, other
        #: Images seen by all processes, of those that could be read.
        self.images = 0
        #: What the metric computed in the end.
        self.found: Any = None
        self._images_here = self._batches = 0
        self._saved = 0.0

    @abstractmethod
    def take(self, batch: Batch) -> None:
        """Update the metric with the valid samples of a batch."""

    def run(self, trainer: lightning.Trainer, loader: BatchLoader) -> Any:
        """What the metric says of all images, on every process; resumes an interrupted pass.

        Raises UserError if the file belongs to another pass.
        """
        self._batches = self._load(first=trainer.is_global_zero)
        loader.load_state_dict({**loader.state_dict(), "batches": self._batches})
        self._saved = time.monotonic()
        trainer.validate(self, loader, verbose=False)
        return self.found

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Take in one batch; save when the time has come."""
        self.take(batch)
        self._images_here += int(batch.valid.sum())
        self._batches += 1
        due = time.monotonic() - self._saved > self.save_every
        if self.trainer.strategy.reduce_boolean_decision(due, all=False):
            self._save()
            self._saved = time.monotonic()

    def on_validation_epoch_end(self) -> None:
        """Save and merge what all processes have found."""
        self._save()
        self.found = self.metric.compute()
        self.log_bad_files("val", self.trainer.val_dataloaders)

    def more_tensors(self) -> dict[str, Tensor]:
        """What else is saved, of all processes; called on each, with the merged metric."""
        return {}

    def load_more(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore `more_tensors`, on one process."""

    def _save(self) -> None:
        strategy = self.trainer.strategy
        images = torch.tensor(self._images_here, device=self.device)
        self.images = int(strategy.reduce(images, reduce_op="sum"))
        with self.metric.sync_context():
            state = self.metric.state_dict()
            tensors = {f"metric/{name}": dim_zero_cat(value) for name, value in state.items()}
            tensors |= self.more_tensors()
        if self.trainer.is_global_zero:
            header = {"key": self.key, "batches": self._batches, "images": self.images}
            write_tensors(self.file, self.kind, tensors, header)

    def _load(self, *, first: bool) -> int:
        """Restore the saved pass; returns how many batches it has seen.

        The `first` process resumes with what all had found, the others with nothing.
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
