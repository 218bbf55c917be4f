"""Decoding of an image file to the 256×256 picture that everything starts from (Sec. 3).

The outcome for a file, whatever its name says:

| file | outcome |
|---|---|
| JPEG, PNG, WebP, GIF; BMP, TIFF, PPM and what else Pillow reads | decoded to RGB |
| JPEG named .png, PNG named .JPEG | decoded as what it is |
| greyscale, palette, CMYK | converted to RGB |
| 16 bits a channel | grey is divided by 257, so that 65535 becomes 255; of colours the upper byte |
| transparency | dropped, as Pillow's `convert("RGB")` does: the colours beneath it stay |
| animation | its first picture |
| orientation of the camera (EXIF) | applied |
| 1×1 pixels | enlarged |
| 1×5000 pixels | only its middle is enlarged: the centre square is the same |
| a name that is not ASCII or not UTF-8 | read |
| truncated, empty, or of no image format | unreadable |
| floating-point pixels | unreadable: their range is not known |
| over 178 million pixels, and not JPEG | unreadable: Pillow takes it for an attack |
| forbidden, vanished, broken or circular link | unreadable |

Unreadable files are reported and counted, see `zf_lightning.data.bad_files`. Folders that are named
like images, pipes and other devices are not read at all, see `zf_lightning.data.sources.scan`.

All pixels are those of Pillow's upright RGB (its `ImageOps.exif_transpose` and `convert("RGB")`),
but for 16-bit grey. Pillow reads the header of every file, and decodes all but JPEGs, which
simplejpeg decodes in a little more than half the time to the same pixels. `benchmarks/decoding.py`
compares; torchvision's decoder, deprecated since 0.29, and TorchCodec, its successor, which is tied
to one version of PyTorch, take longer. Pillow's scaled decoding gives other pixels.
"""

import io
import struct
from pathlib import Path

import numpy
import simplejpeg
import torch
from PIL import ExifTags, Image, JpegImagePlugin, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from zf_lightning.errors import UnreadableImage, reason_of

#: Height and width of a stored sample in pixels.
STORED_SIZE = 256
#: Of a picture longer than this many times its shorter side, the ends are cut off before scaling.
LONGEST = 16
#: What a JPEG of these modes becomes does not depend on who decodes it.
PLAIN_MODES = ("RGB", "L")


def load_image(path: Path | str, *, size: int = STORED_SIZE) -> Tensor:
    """Decode a file to RGB, scale its shorter side to `size`, cut out the centre square.

    Returns uint8 `[3, size, size]`. Scaling is antialiased. The table above says what becomes of
    which file.
    Raises UnreadableImage, naming the path and the reason, if there is no picture in it.
    """
    try:
        picture = decode_picture(Path(path).read_bytes())
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as problem:
        raise UnreadableImage(
            f"{path} cannot be read as an image ({_reason(path, problem)})"
        ) from problem
    return centre_square(picture, size=size)


def decode_picture(content: bytes) -> Tensor:
    """The picture of a file's bytes, upright RGB, `[3, H, W]` uint8.

    Raises OSError, ValueError, SyntaxError or DecompressionBombError if there is none.
    """
    with open_picture(content) as opened:
        if isinstance(opened, JpegImagePlugin.JpegImageFile) and opened.mode in PLAIN_MODES:
            try:
                return _turned(decode_jpeg(content), _orientation(opened))
            except ValueError:
                # Damaged, perhaps only a little: Pillow decides.
                pass
        if opened.mode == "F":
            raise ValueError("its pixels are floating-point numbers")
        if opened.mode.startswith("I"):
            # Pillow would cut off everything above 255; 65535 / 257 is 255.
            grey = numpy.asarray(opened).astype(numpy.int64).clip(0, 65535) // 257
            pixels = grey.astype(numpy.uint8)[:, :, None].repeat(3, 2)
        else:
            pixels = numpy.array(opened.convert("RGB"))
        return _turned(torch.from_numpy(pixels).permute(2, 0, 1), _orientation(opened))


def decode_jpeg(content: bytes) -> Tensor:
    """`[3, H, W]` uint8 of a JPEG as the camera held it; raises ValueError if it is damaged."""
    return torch.from_numpy(simplejpeg.decode_jpeg(content)).permute(2, 0, 1)


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture, turned upright; raises as `decode_picture` does."""
    with open_picture(path.read_bytes()) as opened:
        width, height = opened.size
        return (width, height) if _orientation(opened) in TRANSPOSED else (height, width)


def open_picture(content: bytes) -> Image.Image:
    """The header of a JPEG, of any size, or another picture with its pixels, by Pillow."""
    if content.startswith(b"\xff\xd8"):
        try:
            return JpegImagePlugin.JpegImageFile(io.BytesIO(content))
        except (IndexError, TypeError, struct.error) as problem:
            raise SyntaxError("its header is damaged") from problem
    opened = Image.open(io.BytesIO(content))
    # Some formats have their orientation behind the pixels, and Pillow turns others itself.
    opened.load()
    return opened


#: Orientations whose rows are the columns of the picture in the file.
TRANSPOSED = (5, 6, 7, 8)


def _orientation(opened: Image.Image) -> int:
    try:
        return int(opened.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        # A damaged block fails in as many ways as it has parts; the pixels are whole.
        return 1


def _turned(image: Tensor, orientation: int) -> Tensor:
    """The picture turned as `ImageOps.exif_transpose` turns it."""
    if orientation not in range(2, 9):
        return image
    if orientation in TRANSPOSED:
        image = image.transpose(-1, -2)
    if orientation in (2, 3, 6, 7):
        image = image.flip(-1)
    if orientation in (3, 4, 7, 8):
        image = image.flip(-2)
    # Pixel by pixel in memory, as pictures are decoded: resizing is several times as fast.
    return image.permute(1, 2, 0).contiguous().permute(2, 0, 1)


def centre_square(image: Tensor, *, size: int = STORED_SIZE) -> Tensor:
    """Scale the shorter side of uint8 `[3, H, W]` to `size`, cut out the centre square."""
    image = _without_far_ends(image)
    height, width = image.shape[-2:]
    if min(height, width) != size:
        image = transforms.resize(image, [size], antialias=True)
    if image.shape[-2:] != (size, size):
        image = transforms.center_crop(image, [size, size])
    # By NumPy: beside other work, PyTorch's threads wait for one another ten times as long as this.
    return torch.from_numpy(numpy.ascontiguousarray(image.numpy()))


def _without_far_ends(image: Tensor) -> Tensor:
    """The middle of a very long picture: scaled whole, 1×5000 pixels would take a gigabyte."""
    for dim, other in ((-1, -2), (-2, -1)):
        length, limit = image.shape[dim], LONGEST * image.shape[other]
        if length > limit:
            # As much from either end, so that the centre stays where it is.
            end = (length - limit) // 2
            image = image.narrow(dim, end, length - 2 * end)
    return image


def _reason(path: Path | str, problem: Exception) -> str:
    if isinstance(problem, UnidentifiedImageError):
        empty = Path(path).stat().st_size == 0
        return "it is empty" if empty else "its format is not known"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return reason_of(problem)
