"""Decoding of an image file to the 256×256 picture that everything starts from (Sec. 3).

The outcome for a file, whatever its name says:

| file | outcome |
|---|---|
| JPEG, PNG, WebP, GIF; BMP, TIFF, PPM and what else Pillow reads | decoded to RGB |
| JPEG named .png, PNG named .JPEG | decoded as what it is |
| greyscale, palette, CMYK | converted to RGB |
| 16 bits a channel | divided by 257, so that 65535 becomes 255 |
| transparency | dropped, as Pillow's `convert("RGB")` does: the colours beneath it stay |
| animation | its first picture |
| orientation of the camera (EXIF) | applied |
| 1×1 pixels | enlarged |
| 1×5000 pixels | only its middle is enlarged: the centre square is the same |
| a name that is not ASCII or not UTF-8 | read |
| truncated, empty, or of no image format | unreadable |
| floating-point pixels | unreadable: their range is not known |
| forbidden, vanished, broken or circular link | unreadable |

Unreadable files are reported and counted, see `zf_lightning.data.bad_files`. Folders that are named
like images, pipes and other devices are not read at all, see `zf_lightning.data.sources.scan`.

Decoding is torchvision.io. CPU milliseconds an image on 200 full-size ImageNet photographs, resize
included: torchvision.io 1.8, TorchCodec 1.9, simplejpeg 1.8, all with the same pixels; Pillow 3.3,
with its scaled decoding (`draft`) 2.4 and other pixels. torchvision 0.29 deprecates its decoder in
favour of TorchCodec, which gains nothing and is tied to the version of PyTorch: torchvision.io
stays until it goes, and `decode_rgb` is the only place that knows.
"""

import io
from pathlib import Path

import numpy
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image, read_file
from torchvision.transforms.v2 import functional as transforms

from zf_lightning.errors import UnreadableImage, reason_of

#: Height and width of a stored sample in pixels.
STORED_SIZE = 256
#: Of a picture longer than this many times its shorter side, the ends are cut off before scaling.
LONGEST = 16


def load_image(path: Path | str, *, size: int = STORED_SIZE) -> Tensor:
    """Decode a file to RGB, scale its shorter side to `size`, cut out the centre square.

    Returns uint8 `[3, size, size]`. Scaling is antialiased. The table above says what becomes of
    which file.
    Raises UnreadableImage, naming the path and the reason, if there is no picture in it.
    """
    try:
        image = _decode(path)
    except (RuntimeError, ValueError, OSError):
        image = _decode_rarer(path)
    return centre_square(image, size=size)


def decode_rgb(data: Tensor) -> Tensor:
    """`[3, H, W]` uint8 or uint16 of the bytes of a file in a common format, as the camera held it.

    Raises RuntimeError for other formats.
    """
    image = decode_image(data, mode=ImageReadMode.RGB)
    return image[0] if image.ndim == 4 else image


def _decode(path: Path | str) -> Tensor:
    """Common formats, upright, `[3, H, W]` uint8 or uint16."""
    data = read_file(str(path))
    return _upright(decode_rgb(data), data.numpy().tobytes())


def _upright(image: Tensor, content: bytes) -> Tensor:
    """The picture turned as `ImageOps.exif_transpose` turns it.

    torchvision applies the orientation of PNGs, and of JPEGs that begin with their EXIF block.
    Pillow's reading of a JPEG's header takes 0.05 ms; of a PNG it would decode the pixels.
    """
    marks = (b"EXIF", b"eXIf", b"tiff:Orientation")
    if not content.startswith(b"\xff\xd8") and not any(mark in content for mark in marks):
        return image
    try:
        with Image.open(io.BytesIO(content)) as opened:
            orientation = opened.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        # A damaged block fails in as many ways as it has parts; the pixels are whole.
        return image
    if orientation not in range(2, 9):
        return image
    if orientation in (5, 6, 7, 8):
        image = image.transpose(-1, -2)
    if orientation in (2, 3, 6, 7):
        image = image.flip(-1)
    if orientation in (3, 4, 7, 8):
        image = image.flip(-2)
    # Pixel by pixel in memory, as torchvision decodes: resizing is several times as fast.
    return image.permute(1, 2, 0).contiguous().permute(2, 0, 1)


def _decode_rarer(path: Path | str) -> Tensor:
    """Formats that torchvision does not decode, as BMP and TIFF; uint8 `[3, H, W]`."""
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode == "F":
                raise UnreadableImage(_sentence(path, "its pixels are floating-point numbers"))
            if upright.mode.startswith("I"):
                # Pillow would cut off everything above 255.
                grey = numpy.asarray(upright).astype(numpy.int64).clip(0, 65535) // 257
                return torch.from_numpy(grey.astype(numpy.uint8)).expand(3, -1, -1)
            return torch.from_numpy(numpy.array(upright.convert("RGB"))).permute(2, 0, 1)
    except UnreadableImage:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as problem:
        raise UnreadableImage(_sentence(path, _reason(path, problem))) from problem


def centre_square(image: Tensor, *, size: int = STORED_SIZE) -> Tensor:
    """Scale the shorter side of uint8 or uint16 `[3, H, W]` to `size`, cut out the centre square.

    Returns uint8 `[3, size, size]`.
    """
    image = _without_far_ends(image)
    if image.dtype != torch.uint8:
        # 16-bit PNGs: 65535 / 257 is 255.
        image = (image.to(torch.int32) // 257).to(torch.uint8)
    height, width = image.shape[-2:]
    if min(height, width) != size:
        image = transforms.resize(image, [size], antialias=True)
    if image.shape[-2:] != (size, size):
        image = transforms.center_crop(image, [size, size])
    return image.contiguous()


def _without_far_ends(image: Tensor) -> Tensor:
    """The middle of a very long picture: scaled whole, 1×5000 pixels would take a gigabyte."""
    for dim, other in ((-1, -2), (-2, -1)):
        length, limit = image.shape[dim], LONGEST * image.shape[other]
        if length > limit:
            # As much from either end, so that the centre stays where it is.
            end = (length - limit) // 2
            image = image.narrow(dim, end, length - 2 * end)
    return image


def _sentence(path: Path | str, reason: str) -> str:
    return f"{path} cannot be read as an image ({reason})"


def _reason(path: Path | str, problem: Exception) -> str:
    if isinstance(problem, UnidentifiedImageError):
        empty = Path(path).stat().st_size == 0
        return "it is empty" if empty else "its format is not known"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return reason_of(problem)
