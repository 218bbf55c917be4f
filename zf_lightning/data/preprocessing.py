"""From uint8 pictures to what a network takes, for a whole batch on its device (Sec. 3)."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as transforms

from zf_lightning.data.crops import (
    TEN,
    centre_crop,
    crop_and_mirror,
    random_placement,
    ten_crop,
)
from zf_lightning.data.pixel_statistics import PixelStatistics
from zf_lightning.errors import UserError

#: Per channel, in 0..255.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


class Preprocessing(nn.Module):
    """Resize, mean subtraction, scaling and cropping; part of the network's checkpoint.

    The paper scales the shorter side to 256, takes the centre 256×256, subtracts the per-pixel
    mean and crops 224×224. A network of another `input_size` sees the same share of the picture:
    the stored image is resized to `input_size · 8 / 7` first.

    Args:
        input_size: height and width in pixels of what the network takes.
        mean: `pixel` (the training set's mean image), `channel`, `imagenet`, `none`, or three
            numbers: what is subtracted from red, green and blue in 0..255.
        scale: `std` (divide by the training set's standard deviation of each channel), `imagenet`,
            `none`, or three numbers: what red, green and blue are divided by.
        statistics: of the training set; needed for `pixel`, `channel` and `std`, unless the
            values come from a checkpoint afterwards.

    Raises:
        UserError: `mean` or `scale` is not one of the choices.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        input_size: int,
        mean: str | Sequence[float],
        scale: str | Sequence[float],
        statistics: PixelStatistics | None = None,
    ) -> None:
        super().__init__()
        zero, one = (0.0,) * 3, (1.0,) * 3
        means = {
            "pixel": zero,
            "channel": zero if statistics is None else statistics.channel_mean.tolist(),
            "imagenet": IMAGENET_MEAN,
            "none": zero,
        }
        scales = {
            "std": one if statistics is None else statistics.channel_std.tolist(),
            "imagenet": IMAGENET_STD,
            "none": one,
        }
        std = _channels("scale", scale, scales)
        if not bool((std > 0).all()):
            raise UserError(f"model.preprocessing.scale={scale} must be above 0.")
        self.input_size = input_size
        self.base_size = round(input_size * 8 / 7)
        base = [self.base_size, self.base_size]
        mean_image = torch.zeros(3, *base) + _channels("mean", mean, means)
        if mean == "pixel" and statistics is not None:
            mean_image = transforms.resize(statistics.mean_image, base, antialias=True)
        self.register_buffer("mean", mean_image)
        self.register_buffer("std", std)

    def resize(self, images: Tensor) -> Tensor:
        """uint8 `[N, 3, B, B]` of uint8 `[N, 3, H, H]`, where B is `input_size · 8 / 7`."""
        if images.shape[-1] == self.base_size:
            return images
        return transforms.resize(images, [self.base_size, self.base_size], antialias=True)

    def normalise(self, images: Tensor) -> Tensor:
        """float32 `[N, 3, B, B]` with mean subtracted and scaled, of uint8 `[N, 3, B, B]`."""
        return (images - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        """Centre crops, normalised: float32 `[N, 3, S, S]` of uint8 `[N, 3, 256, 256]`."""
        return centre_crop(self.normalise(self.resize(images)), self.input_size)

    def random_crops(
        self, images: Tensor, indices: Tensor, *, seed: int, epoch: int, normalised: bool = True
    ) -> Tensor:
        """The epoch's random crop of each sample, half of them mirrored: `[N, 3, S, S]`.

        As float32 for the network, or, if not `normalised`, as uint8 for people.
        """
        images = self.resize(images)
        margin = self.base_size - self.input_size
        placement = random_placement(indices, margin=margin, seed=seed, epoch=epoch)
        images = self.normalise(images) if normalised else images
        return crop_and_mirror(images, self.input_size, placement)

    def ten_crops(self, images: Tensor) -> Iterator[Tensor]:
        """The ten crops of each sample, float32 `[N, 3, S, S]` of uint8 `[N, 3, 256, 256]`.

        One at a time, so that memory does not grow tenfold; number `CENTRE_CROP` is `forward`'s.
        """
        normalised = self.normalise(self.resize(images))
        if normalised.device.type == "cpu":
            # A processor convolves so in two thirds of the time: benchmarks/ten_crop_evaluation.py.
            normalised = normalised.contiguous(memory_format=torch.channels_last)
        for number in range(TEN):
            yield ten_crop(normalised, self.input_size, number)


def _channels(
    option: str, value: str | Sequence[float], known: Mapping[str, Sequence[float]]
) -> Tensor:
    """float32 `[3, 1, 1]` of three numbers, or of a name in `known`."""
    numbers = known.get(value) if isinstance(value, str) else value
    if (
        not isinstance(numbers, Sequence)
        or len(numbers) != 3
        or not all(isinstance(number, int | float) for number in numbers)
    ):
        raise UserError(
            f"model.preprocessing.{option}={value} is not known: it is one of "
            f"{', '.join(known)}, or three numbers."
        )
    return torch.tensor(list(numbers), dtype=torch.float32)[:, None, None]
