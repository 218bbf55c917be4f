"""The data loader: batches in the epoch's order, resumed mid-epoch, without unreadable files."""

import time
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, default_collate

from zf_lightning.data.bad_files import BadFiles
from zf_lightning.data.batch import Batch
from zf_lightning.data.sampler import EpochSampler
from zf_lightning.errors import UserError
from zf_lightning.system.worker_sockets import check_temporary_folder


class BatchLoader(DataLoader[Batch]):
    """A DataLoader that resumes mid-epoch, skips unreadable files and measures time spent waiting.

    Lightning keeps its state in every checkpoint. It counts the batches that the training took, not
    those that the workers have prepared, and resumes the epoch's order after them, with any number
    of workers and processes. Its arguments are DataLoader's own: Lightning makes a loader anew from
    them where `trainer.overfit_batches` asks for another sampler.
    """

    #: Seconds that `next` took, of all epochs together.
    seconds_waited = 0.0
    #: Counts the unreadable files; without it they are errors.
    bad_files: BadFiles | None = None
    _taken = 0
    _resume_from: dict[str, Any] | None = None

    # Raises UserError where workers could not hand over what they read.
    # A generator: the workers start at the first `next`, when Lightning has set the epoch. It
    # calls `iter` before that, and workers would prefetch from the order of epoch 0.
    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self._taken = self._first_batch()
        if isinstance(self.sampler, EpochSampler):
            self.sampler.first_batch = self._taken
        if self.bad_files is not None:
            self.bad_files.start_epoch()
        if self.num_workers:
            check_temporary_folder()
        batches = super().__iter__()
        while True:
            began = time.monotonic()
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                self.seconds_waited += time.monotonic() - began
            # Before it is handed over: a checkpoint is written while it is in use.
            self._taken += 1
            yield batch if self.bad_files is None else self.bad_files.leave_out(batch)

    def state_dict(self) -> dict[str, Any]:
        """How far the training is in which order; whole numbers only."""
        return {"batches": self._taken, **self._order()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from `state` when its epoch is iterated over next.

        Raises UserError if the order differs from that of the checkpoint.
        """
        order = self._order()
        for key, words in (
            ("batch_size", "data.batch_size"),
            ("samples", "the number of training images"),
            ("seed", "data.seed"),
            ("stored_order", "an order of files or shards (data.shuffle_window)"),
        ):
            if key in state and key in order and state[key] != order[key]:
                raise UserError(
                    f"The checkpoint was written in mid-epoch with {words} {state[key]}, and now "
                    f"it is {order[key]}: the rest of the epoch cannot be told apart from what "
                    "was seen. Resume with the same, or start in another folder."
                )
        self._resume_from = state

    def _first_batch(self) -> int:
        state, self._resume_from = self._resume_from, None
        # A state of another epoch is that of one that was complete.
        if state is None or state.get("epoch") != self._order().get("epoch"):
            return 0
        return state["batches"]

    def _order(self) -> dict[str, int]:
        sampler = self.sampler
        if not isinstance(sampler, EpochSampler):
            return {}
        return {
            "epoch": sampler.epoch,
            "batch_size": sampler.batch_size,
            "samples": sampler.length,
            "seed": sampler.seed,
            "stored_order": sampler.stored.order_key() if sampler.stored is not None else 0,
        }


def collate(samples: list[tuple]) -> Batch:
    """One batch of samples as the sources give them."""
    images, labels, indices, weights = default_collate(samples)
    return Batch(images, labels, indices, weights.float())
