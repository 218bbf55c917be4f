"""What decoding photographs costs with each library that could do it, and whether pixels agree.

    python benchmarks/decoding.py FOLDER [--images 200] [--repetitions 5]

FOLDER holds JPEGs, at any depth. Processor milliseconds an image on one thread, from the bytes of a
file in memory to uint8 RGB, and with the resizing and the cut to 256 × 256 that every decoder here
needs afterwards; the libraries take turns. The difference is the largest of any pixel from
Pillow's upright RGB at full size, and the share of images where there is one.
"""

import argparse
import io
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy
import simplejpeg
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchcodec.decoders import decode_image
from torchvision.io import ImageReadMode
from torchvision.io import decode_jpeg as torchvision_jpeg

from zf_lightning.data.decode import centre_square, decode_picture
from zf_lightning.data.sources.scan import image_names


def by_pillow(content: bytes) -> Tensor:
    """The reference: upright RGB."""
    with Image.open(io.BytesIO(content)) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    return torch.from_numpy(numpy.array(upright)).permute(2, 0, 1)


def by_pillow_scaled(content: bytes) -> Tensor:
    """As `by_pillow`, decoded at a half or a quarter where that is still 256 pixels or more."""
    with Image.open(io.BytesIO(content)) as opened:
        opened.draft("RGB", (256, 256))
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    return torch.from_numpy(numpy.array(upright)).permute(2, 0, 1)


def by_torchvision(content: bytes) -> Tensor:
    data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return torchvision_jpeg(data, mode=ImageReadMode.RGB)


def by_torchcodec(content: bytes) -> Tensor:
    return decode_image(content, mode="RGB")


def by_simplejpeg(content: bytes) -> Tensor:
    return torch.from_numpy(simplejpeg.decode_jpeg(content)).permute(2, 0, 1)


DECODERS: dict[str, Callable[[bytes], Tensor]] = {
    "zf-lightning": decode_picture,
    "torchvision": by_torchvision,
    "TorchCodec": by_torchcodec,
    "simplejpeg": by_simplejpeg,
    "Pillow": by_pillow,
    "Pillow, scaled": by_pillow_scaled,
}


def main() -> None:
    """Print a line for each decoder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DeprecationWarning)
    names = [n for n in image_names(options.folder) if n.lower().endswith((".jpg", ".jpeg"))]
    contents = [(options.folder / name).read_bytes() for name in names[: options.images]]
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in DECODERS}
    for _ in range(options.repetitions):
        for name, decode in DECODERS.items():
            start = time.process_time()
            pictures = [decode(content) for content in contents]
            decoded = time.process_time()
            for picture in pictures:
                centre_square(picture)
            end = time.process_time()
            each = 1000 / len(contents)
            times[name].append(((decoded - start) * each, (end - start) * each))
    expected = [by_pillow(content) for content in contents]
    print(f"{len(contents)} images; ms an image: decoded, with resizing; pixels")
    for name, decode in DECODERS.items():
        decoding, whole = (statistics.median(t[i] for t in times[name]) for i in (0, 1))
        found = [decode(content) for content in contents]
        apart = [
            int((a.int() - b.int()).abs().max()) if a.shape == b.shape else 255
            for a, b in zip(found, expected, strict=True)
        ]
        print(
            f"{name:15} {decoding:5.2f} {whole:5.2f}   largest difference {max(apart)}, in "
            f"{sum(map(bool, apart)) / len(apart):.1%} of the images"
        )


if __name__ == "__main__":
    main()
