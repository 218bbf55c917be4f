"""Pictures that look like photographs, for tests."""

import numpy
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional


def scenes(count: int, seed: int = 0) -> Tensor:
    """Smooth random pictures, uint8 `[N, 3, 256, 256]`."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    fine = functional.interpolate(coarse, size=256, mode="bicubic", align_corners=False)
    return (fine.clamp(0, 1) * 255).to(torch.uint8)


def photograph(width: int, height: int) -> Image.Image:
    """Smooth colours with some detail, as a camera gives."""
    y, x = numpy.mgrid[:height, :width]
    waves = [numpy.sin(x / (9 + 4 * c) + c) + numpy.cos(y / (13 + 3 * c)) for c in range(3)]
    pixels = 127 + 60 * numpy.stack(waves, axis=-1)
    return Image.fromarray(pixels.clip(0, 255).astype(numpy.uint8))
