"""The LightningDataModule: three splits of a source as batches of uint8 images."""

from collections.abc import Mapping
from typing import Any

import lightning

from zf_lightning.data.bad_files import BadFiles
from zf_lightning.data.loader import BatchLoader, collate
from zf_lightning.data.sampler import EpochSampler
from zf_lightning.data.sources.base import ImageSource, Split, StoredInOrder
from zf_lightning.errors import UserError
from zf_lightning.system.cores import default_workers
from zf_lightning.system.processes import follow_loader


class ImageDataModule(lightning.LightningDataModule):
    """Delivers each sample of a split once an epoch, over any number of processes.

    Workers only decode. Cropping, mirroring and mean subtraction happen on the device, in
    `Preprocessing`: 3 bytes a pixel cross from the workers, once.

    Args:
        source: where the images come from.
        batch_size: of all processes together.
        workers: decoding processes for each training process; None: one a core, shared among
            this machine's training processes, at most 16.
        seed: decides the training order.
        max_bad_files: how many files of the split that is trained on, and of one that is
            evaluated, may be unreadable: shares below 1, or numbers.

    Raises:
        UserError: an option is not legal, or the batch cannot be divided among the processes.
    """

    def __init__(
        self,
        source: ImageSource,
        *,
        batch_size: int,
        workers: int | None = None,
        seed: int = 0,
        max_bad_files: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.source = source
        self.batch_size = batch_size
        self.workers = workers
        self.seed = seed
        self.max_bad_files = dict(max_bad_files or {})
        self._train_loader: BatchLoader | None = None
        self._resume_from: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The position of the training in its epoch."""
        return self._train_loader.state_dict() if self._train_loader is not None else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume mid-epoch.

        Lightning hands a loader its state only where no schedule asks for the number of steps:
        that makes the loader before the state is read (2.6.6).
        """
        self._resume_from = state or None

    def prepare_data(self) -> None:
        """Make the source ready; Lightning calls this on one process of each machine."""
        self.source.prepare()

    def length(self, split: Split) -> int:
        """Number of samples of a split."""
        return len(self.source.split(split))

    def train_dataloader(self) -> BatchLoader:
        """Training batches in the epoch's order."""
        loader = self._loader("train", shuffle=True)
        if self._resume_from is not None:
            loader.load_state_dict(self._resume_from)
            self._resume_from = None
        self._train_loader = loader
        return loader

    def val_dataloader(self) -> BatchLoader:
        """Validation batches."""
        return self._loader("val", shuffle=False)

    def test_dataloader(self) -> BatchLoader:
        """Test batches."""
        return self._loader("test", shuffle=False)

    def evaluation_loader(
        self, split: Split, *, at_most: int | None = None, in_order: bool = False
    ) -> BatchLoader:
        """Batches of a split, or of at most so many of its samples, in the order of evaluation.

        The samples are always the same; shards are read whole, one after the other. `in_order`:
        the samples come as they lie in the split.
        """
        return self._loader(split, shuffle=False, at_most=at_most, in_order=in_order)

    def _loader(
        self, split: Split, *, shuffle: bool, at_most: int | None = None, in_order: bool = False
    ) -> BatchLoader:
        rank, processes = 0, 1
        on_this_machine = 1
        if self.trainer is not None:
            rank, processes = self.trainer.global_rank, self.trainer.world_size
            on_this_machine = max(1, self.trainer.num_devices)
        if self.batch_size % processes:
            raise UserError(
                f"data.batch_size={self.batch_size} is the batch of all processes together and "
                f"cannot be divided among {processes}; choose a multiple of {processes}."
            )
        workers = default_workers(self.workers, processes=on_this_machine)
        files = self.source.split(split)
        if not len(files):
            raise UserError(f"The data has no images of the split {split}.")
        sampler = EpochSampler(
            len(files),
            batch_size=self.batch_size,
            rank=rank,
            processes=processes,
            shuffle=shuffle,
            seed=self.seed,
            stored=files if isinstance(files, StoredInOrder) else None,
            at_most=at_most,
            in_order=in_order,
        )
        loader = BatchLoader(
            files,  # type: ignore[arg-type]
            batch_size=self.batch_size // processes,
            sampler=sampler,
            num_workers=workers,
            worker_init_fn=follow_loader,
            collate_fn=collate,
            pin_memory=self.trainer is not None and _on_gpu(self.trainer),
            # An evaluation is made once; the epochs keep their workers.
            persistent_workers=workers > 0 and split != "test" and at_most is None,
        )
        loader.bad_files = self.bad_files(split)
        return loader

    def bad_files(self, split: Split) -> BadFiles:
        """Counts the unreadable files of a split."""
        return BadFiles.of_split(self.source.split(split), split, self.max_bad_files)


def _on_gpu(trainer: lightning.Trainer) -> bool:
    return trainer.strategy.root_device.type == "cuda"
