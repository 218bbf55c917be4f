"""What most training scripts do with images: torchvision's ImageFolder, Pillow, and transforms."""

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.datasets import ImageFolder

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TO_TENSOR = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
#: 256×256 pixels around the centre.
SQUARE = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(256)])


def stack_crops(crops: tuple[Image.Image, ...]) -> Tensor:
    """float32 `[10, 3, 224, 224]` of ten crops."""
    return torch.stack([TO_TENSOR(crop) for crop in crops])


#: From Pillow's picture to float32 `[3, 256, 256]`.
ONE_SQUARE = transforms.Compose([SQUARE, TO_TENSOR])
#: From a square picture, and from any, to float32 `[10, 3, 224, 224]`.
TEN_OF_SQUARE = transforms.Compose([transforms.TenCrop(224), transforms.Lambda(stack_crops)])
TEN_CROPS = transforms.Compose([SQUARE, TEN_OF_SQUARE])


def image_folder(root: Path, transform: Callable[[Image.Image], Tensor]) -> ImageFolder:
    """The images of class folders."""
    return ImageFolder(str(root), transform)


class DecodedImages(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Square pictures that are in memory already, each cut in ten."""

    def __init__(self, root: Path, count: int) -> None:
        files = ImageFolder(str(root)).samples
        distinct = [SQUARE(Image.open(path).convert("RGB")) for path, _ in files[: min(count, 200)]]
        self.pictures = [distinct[number % len(distinct)] for number in range(count)]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return TEN_OF_SQUARE(self.pictures[index]), 0
