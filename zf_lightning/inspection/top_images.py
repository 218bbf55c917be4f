"""The feature maps that are drawn, and the images that excite them, read again."""

from collections.abc import Sequence

import torch
from torch import Tensor

from zf_lightning.atlas import ImageBatch
from zf_lightning.data import LabelledImages
from zf_lightning.data.crops import centre_crop
from zf_lightning.errors import UserError
from zf_lightning.training.module import ImageClassifier


def chosen_maps(maps: int | str | Sequence[int], count: int, *, layer: str, seed: int) -> list[int]:
    """The feature maps of a layer of `count` to be drawn, ascending.

    A number is a random subset that depends on the seed and the layer's name alone.
    Raises UserError for something else than a number, a list of existing maps, or `all`.
    """
    if maps == "all":
        return list(range(count))
    if isinstance(maps, int) and maps > 0:
        generator = torch.Generator().manual_seed(seed + sum(layer.encode()))
        return sorted(torch.randperm(count, generator=generator)[:maps].tolist())
    if isinstance(maps, str | int) or not all(isinstance(number, int) for number in maps):
        raise UserError(f"probe.maps={maps} is neither a number, a list of numbers, nor all.")
    missing = [number for number in maps if not 0 <= number < count]
    if missing:
        raise UserError(f"probe.maps: {layer} has {count} feature maps, and no map {missing[0]}.")
    return sorted(set(maps))


def load_winners(
    files: LabelledImages, indices: Sequence[int], classifier: ImageClassifier
) -> ImageBatch:
    """Images of a split, as the network saw their centre crops and as a person looks at them."""
    return image_batch(*_read(files, indices), classifier)


def load_training_winners(
    files: LabelledImages, indices: Sequence[int], classifier: ImageClassifier, *, epoch: int
) -> ImageBatch:
    """The same with the crop and the mirroring that each image was trained on in an epoch.

    These are a function of the seed, the epoch and the image's index, so that nothing had to be
    kept of them.
    """
    images, labels = _read(files, indices)
    images, preprocessing = images.to(classifier.device), classifier.preprocessing
    chosen = torch.tensor(list(indices), device=images.device)
    crops = {"seed": classifier.seed, "epoch": epoch}
    return ImageBatch(
        display=preprocessing.random_crops_unnormalised(images, chosen, **crops).cpu(),
        inputs=preprocessing.random_crops(images, chosen, **crops),
        labels=labels,
    )


def image_batch(images: Tensor, labels: Tensor, classifier: ImageClassifier) -> ImageBatch:
    """Samples uint8 `[N, 3, 256, 256]` as the network takes them and as a person looks at them."""
    images, preprocessing = images.to(classifier.device), classifier.preprocessing
    return ImageBatch(
        display=centre_crop(preprocessing.resize(images), preprocessing.input_size).cpu(),
        inputs=preprocessing(images),
        labels=labels,
    )


def _read(files: LabelledImages, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
    samples = [files[index] for index in indices]
    images = torch.stack([image for image, *_ in samples])
    return images, torch.tensor([label for _, label, *_ in samples])
