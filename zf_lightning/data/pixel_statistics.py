"""Mean image and spread of a training set's pixels."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from zf_lightning.data.decode import STORED_SIZE
from zf_lightning.errors import DamagedFile
from zf_lightning.system.sealed import read_tensors, write_tensors

FORMAT = "zf-lightning statistics 1"
SHAPES = {
    "mean_image": (3, STORED_SIZE, STORED_SIZE),
    "channel_mean": (3,),
    "channel_std": (3,),
}


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
        write_tensors(path, FORMAT, vars(self), {})

    @classmethod
    def load(cls, path: Path) -> "PixelStatistics":
        """Read what `save` wrote. Raises FileNotFoundError, and DamagedFile for something else."""
        _, tensors = read_tensors(path, FORMAT)
        shapes = {name: tuple(value.shape) for name, value in tensors.items()}
        if shapes != SHAPES:
            raise DamagedFile.at(path, f"it holds {shapes}")
        return cls(**tensors)


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
