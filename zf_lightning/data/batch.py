"""A batch on its way from the data to the network."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """A batch of samples as the data loaders deliver it.

    `weights` is 0 for a sample that only fills up the batch of a process, or whose file cannot be
    read (its image is black), and otherwise such that the mean of `weights × loss` over a batch and
    over all processes is the mean loss of the true samples: 1, except in the last, incomplete batch
    of an epoch and beside unreadable files.
    """

    #: `[N, 3, 256, 256]` uint8.
    images: Tensor
    #: `[N]` int64, the position of the class in the source's class names.
    labels: Tensor
    #: `[N]` int64, the sample's position in its split.
    indices: Tensor
    #: `[N]` float32.
    weights: Tensor

    @property
    def valid(self) -> Tensor:
        """`[N]` bool: False for samples that must not be counted."""
        return self.weights > 0
