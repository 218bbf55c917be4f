"""The LightningDataModule: three splits of a source as batches of uint8 images."""

import lightning
from torch.utils.data import DataLoader, default_collate

from zf_lightning.cores import available_cores
from zf_lightning.data.batch import Batch
from zf_lightning.data.sampler import EpochSampler
from zf_lightning.data.sources.base import ImageSource, LabelledFiles, Split
from zf_lightning.data.subset import FixedSubset
from zf_lightning.errors import UserError


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

    Raises:
        UserError: the batch cannot be divided among the processes.
    """

    def __init__(
        self, source: ImageSource, *, batch_size: int, workers: int | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise UserError(f"data.batch_size={batch_size} must be at least 1.")
        if workers is not None and workers < 0:
            raise UserError(f"data.workers={workers} must not be negative.")
        self.source = source
        self.batch_size = batch_size
        self.workers = workers
        self.seed = seed

    def prepare_data(self) -> None:
        """Make the source ready; Lightning calls this on one process of each machine."""
        self.source.prepare()

    def length(self, split: Split) -> int:
        """Number of samples of a split."""
        return len(self.source.split(split))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Training batches in the epoch's order."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation batches."""
        return self._loader("val", shuffle=False)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Test batches."""
        return self._loader("test", shuffle=False)

    def evaluation_dataloader(self, split: Split, *, at_most: int) -> DataLoader[Batch]:
        """Batches of at most so many samples of a split, always the same ones."""
        return self._loader(split, shuffle=False, at_most=at_most)

    def _loader(
        self, split: Split, *, shuffle: bool, at_most: int | None = None
    ) -> DataLoader[Batch]:
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
        workers = self.workers
        if workers is None:
            workers = min(16, max(1, available_cores() // on_this_machine))
        files: LabelledFiles | FixedSubset = self.source.split(split)
        if at_most is not None and at_most < len(files):
            files = FixedSubset(self.source.split(split), at_most)
        sampler = EpochSampler(
            len(files),
            batch_size=self.batch_size,
            rank=rank,
            processes=processes,
            shuffle=shuffle,
            seed=self.seed,
        )
        return DataLoader(
            files,  # type: ignore[arg-type]
            batch_size=self.batch_size // processes,
            sampler=sampler,
            num_workers=workers,
            collate_fn=_collate,
            pin_memory=self.trainer is not None and _on_gpu(self.trainer),
            # An evaluation is made once; the epochs keep their workers.
            persistent_workers=workers > 0 and split != "test" and at_most is None,
        )


def _collate(samples: list[tuple]) -> Batch:
    images, labels, indices, weights = default_collate(samples)
    return Batch(images, labels, indices, weights.float())


def _on_gpu(trainer: lightning.Trainer) -> bool:
    return trainer.strategy.root_device.type == "cuda"
