"""Mean image and spread of a training set's pixels."""

from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from zf_lightning.data.decode import STORED_SIZE
from zf_lightning.system.files import write_whole


@dataclass(frozen=True)
class PixelStatistics:
    """Of all training images, in 0..255."""

    #: float32 `[3, 256, 256]`.
    mean_image: Tensor
    #: float32 `[3]`.
    channel_mean: Tensor
    #: float32 `[3]`.
    channel_std: Tensor

    def save(self, path: Path) -> None:
        """Write to a safetensors file, whole or not at all."""
        write_whole(path, lambda file: save_file(vars(self), file))

    @classmethod
    def load(cls, path: Path) -> "PixelStatistics":
        """Read what `save` wrote."""
        return cls(**load_file(path))


def statistics_of_sums(total: Tensor, squares: Tensor, *, count: int) -> PixelStatistics:
    """The statistics of `count` images from their sum and sums of squares.

    `total` is int64 `[3, 256, 256]`; `squares`, over pixels too, int64 `[3]`.
    """
    pixels = count * STORED_SIZE * STORED_SIZE
    mean = total.sum((1, 2)).double() / pixels
    variance = squares.double() / pixels - mean.square()
    return PixelStatistics(
        mean_image=(total.double() / count).float(),
        channel_mean=mean.float(),
        # A set of one colour has no spread to divide by.
        channel_std=variance.clamp(min=1.0).sqrt().float(),
    )
