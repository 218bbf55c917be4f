"""The samples of a process in an epoch: all samples once, the same number on every process."""

from collections.abc import Iterator

import numpy
from numpy.typing import NDArray
from torch.utils.data import Sampler

from zf_lightning.data.sources.base import SampleKey, StoredInOrder


class EpochSampler(Sampler[SampleKey]):
    """Deals the samples of an epoch to the processes, batch by batch.

    The order is a function of (seed, epoch) alone, and a global batch holds the same samples
    whatever the number of processes. Every process gets the same number of samples: where the last
    batch cannot be divided, samples of it are repeated with weight 0, so that no collective waits
    for a process that has run out, and nothing is counted twice.

    Args:
        length: number of samples in the split.
        batch_size: size of the global batch.
        rank, processes: this process and the number of all.
        shuffle: a new order each epoch, or always the same. That one is scattered too: an
            evaluation of a few batches should meet all classes, and files lie class by class.
        seed: decides the orders.
        stored: samples that have orders of their own, which then take the place of these.
        at_most: deal only so many samples: the same in every run, and spread over the split, whose
            files lie class by class. Of `stored` samples they are those that it reads first.
        in_order: neither shuffled nor scattered: the order of the split.
    """

    def __init__(
        self,
        length: int,
        *,
        batch_size: int,
        rank: int = 0,
        processes: int = 1,
        shuffle: bool,
        seed: int = 0,
        stored: StoredInOrder | None = None,
        at_most: int | None = None,
        in_order: bool = False,
    ) -> None:
        assert length > 0 and batch_size % processes == 0
        self.length = length if at_most is None else min(length, at_most)
        #: The samples that are dealt, if not all.
        self.chosen: NDArray[numpy.int64] | None = None
        if self.length < length and stored is None:
            scattered = numpy.random.default_rng(0).permutation(length)
            self.chosen = numpy.sort(scattered[: self.length])
        self.batch_size = batch_size
        self.rank = rank
        self.processes = processes
        self.shuffle = shuffle
        self.in_order = in_order
        self.seed = seed
        self.stored = stored
        self.epoch = 0
        #: The batch to begin with, in a run that resumes mid-epoch.
        self.first_batch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of samples of the whole epoch for this process."""
        full, rest = divmod(self.length, self.batch_size)
        return full * (self.batch_size // self.processes) + -(-rest // self.processes)

    def __iter__(self) -> Iterator[SampleKey]:
        order = self._order()
        for start in range(self.first_batch * self.batch_size, self.length, self.batch_size):
            if self.stored is not None:
                self.stored.expect(order[start:])
            batch = order[start : start + self.batch_size]
            each = -(-len(batch) // self.processes)
            # The mean over processes of the means over their samples must be the batch's mean.
            weight = each * self.processes / len(batch)
            for slot in range(self.rank, each * self.processes, self.processes):
                if slot < len(batch):
                    yield SampleKey(int(batch[slot]), weight)
                else:
                    yield SampleKey(int(batch[slot % len(batch)]), 0.0)

    def _order(self) -> NDArray[numpy.int64]:
        """The epoch's order of the samples, a function of (seed, epoch) alone."""
        if self.in_order:
            return numpy.arange(self.length)
        if self.stored is not None and not self.shuffle:
            return self.stored.evaluation_order()[: self.length]
        seeds = [self.seed, self.epoch] if self.shuffle else [self.seed]
        generator = numpy.random.default_rng(seeds)
        if self.stored is not None:
            return self.stored.training_order(generator)
        order = generator.permutation(self.length)
        return order if self.chosen is None else self.chosen[order]
