"""From an image file to the 256×256 picture that everything starts from (Sec. 3)."""

from pathlib import Path

import numpy
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image, read_file
from torchvision.transforms.v2 import functional as transforms

from zf_lightning.errors import UserError

#: Height and width of a stored sample in pixels.
STORED_SIZE = 256


def load_image(path: Path | str, *, size: int = STORED_SIZE) -> Tensor:
    """Decode a file to RGB, scale its shorter side to `size`, cut out the centre square.

    Returns uint8 `[3, size, size]`. The camera's orientation is applied; greyscale, palette and
    CMYK become RGB; of an animation the first picture is taken. Scaling is antialiased.
    Raises UserError, naming the path, if the file is not a picture that can be decoded.
    """
    try:
        image = decode_image(
            read_file(str(path)), mode=ImageReadMode.RGB, apply_exif_orientation=True
        )
    except (RuntimeError, ValueError, OSError) as problem:
        image = _decode_rarer(path, problem)
    return centre_square(image[0] if image.ndim == 4 else image, size=size)


def _decode_rarer(path: Path | str, problem: Exception) -> Tensor:
    """Formats that torchvision does not decode, as BMP and TIFF; uint8 `[3, H, W]`."""
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened).convert("RGB")
            return torch.from_numpy(numpy.array(upright)).permute(2, 0, 1)
    except (OSError, ValueError, SyntaxError):
        raise UserError(
            f"{path} cannot be read as an image ({_first_line(problem)}); repair or remove it."
        ) from problem


def centre_square(image: Tensor, *, size: int = STORED_SIZE) -> Tensor:
    """Scale the shorter side of uint8 `[3, H, W]` to `size` and cut out the centre square."""
    if image.dtype != torch.uint8:
        # 16-bit PNGs: 65535 / 257 is 255.
        image = (image.to(torch.int32) // 257).to(torch.uint8)
    height, width = image.shape[-2:]
    if min(height, width) != size:
        image = transforms.resize(image, [size], antialias=True)
    if image.shape[-2:] != (size, size):
        image = transforms.center_crop(image, [size, size])
    return image.contiguous()


def _first_line(problem: Exception) -> str:
    return str(problem).strip().split("\n")[0] or type(problem).__name__
