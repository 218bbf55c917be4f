"""Feature maps to draw, and their top-k images reloaded."""

import functools
from collections.abc import Sequence

import numpy
import torch
from torch import Tensor

from zf_lightning.atlas import ImageBatch
from zf_lightning.data import LabelledImages
from zf_lightning.data.crops import centre_crop
from zf_lightning.data.sources.base import Sample
from zf_lightning.errors import UserError
from zf_lightning.training.module import ImageClassifier

#: Images that a process keeps from one batch, file of tiles or epoch to the next, 196 kB each.
KEPT_SAMPLES = 1024


def chosen_maps(
    maps: int | str | Sequence[int],
    count: int,
    *,
    layer: str,
    seed: int,
    option: str = "probe.maps",
) -> list[int]:
    """The feature maps of a layer of `count` to be drawn, ascending.

    A number is a random subset that depends on the seed and the layer's name alone. Raises
    UserError, which names `option`, for anything but a number, a list of existing maps, or `all`.
    """
    if maps == "all":
        return list(range(count))
    if isinstance(maps, int) and maps > 0:
        generator = torch.Generator().manual_seed(seed + sum(layer.encode()))
        return sorted(torch.randperm(count, generator=generator)[:maps].tolist())
    if isinstance(maps, str | int) or not all(isinstance(number, int) for number in maps):
        raise UserError(f"{option}={maps} is neither a number, a list of numbers, nor all.")
    missing = [number for number in maps if not 0 <= number < count]
    if missing:
        raise UserError(f"{option}: {layer} has {count} feature maps, and no map {missing[0]}.")
    return sorted(set(maps))


def spread_indices(files: LabelledImages, number: int) -> list[int]:
    """Indices of at most `number` images, spread over a split: its files lie class by class."""
    count = min(number, len(files))
    return numpy.linspace(0, len(files) - 1, count).round().astype(int).tolist()


def images_at_once(size: int) -> int:
    """How many images of `size` by `size` pixels take as much memory as 32 of 224, at most 256.

    What is done once a batch shows where images are small.
    """
    return min(256, max(32, 32 * 224**2 // size**2))


class ReadOnce:
    """Files of which the last samples are kept: one image excites many feature maps."""

    def __init__(self, files: LabelledImages) -> None:
        self._read = functools.lru_cache(KEPT_SAMPLES)(files.__getitem__)

    def __getitem__(self, index: int) -> Sample:
        return self._read(index)


def load_top_images(
    files: LabelledImages | ReadOnce, indices: Sequence[int], classifier: ImageClassifier
) -> ImageBatch:
    """Images of a split: their centre crops, for the network and for display."""
    return image_batch(*_read(files, indices), classifier)


def load_training_top_images(
    files: LabelledImages | ReadOnce,
    indices: Sequence[int],
    classifier: ImageClassifier,
    *,
    epoch: int,
) -> ImageBatch:
    """Images of a split with the crop and the mirroring that an epoch trained on.

    Both are a function of the seed, the epoch and the image's index: nothing had to be kept.
    """
    images, labels = _read(files, indices)
    images, preprocessing = images.to(classifier.device), classifier.preprocessing
    chosen = torch.tensor(list(indices), device=images.device)
    crops = functools.partial(
        preprocessing.random_crops, images, chosen, seed=classifier.seed, epoch=epoch
    )
    return ImageBatch(
        display=crops(normalised=False).cpu(),
        inputs=crops(),
        labels=labels,
    )


def image_batch(images: Tensor, labels: Tensor, classifier: ImageClassifier) -> ImageBatch:
    """Samples uint8 `[N, 3, 256, 256]`: their centre crops, for the network and for display."""
    preprocessing = classifier.preprocessing
    images = preprocessing.resize(images.to(classifier.device))
    return ImageBatch(
        display=centre_crop(images, preprocessing.input_size).cpu(),
        inputs=preprocessing(images),
        labels=labels,
    )


def _read(files: LabelledImages | ReadOnce, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
    samples = [files[index] for index in indices]
    images = torch.stack([image for image, *_ in samples])
    return images, torch.tensor([label for _, label, *_ in samples])
