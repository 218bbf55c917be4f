"""Formats, modes and orientations: every picture is Pillow's upright RGB."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image, ImageOps

from zf_lightning.data.decode import decode_picture, picture_size

#: What each format can keep, and with which options.
FORMATS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "jpg": (("L", "RGB", "CMYK"), {"quality": 90}),
    "progressive.jpg": (("L", "RGB", "CMYK"), {"progressive": True, "subsampling": 1}),
    "mpo": (("RGB",), {"format": "MPO"}),
    "png": (("1", "L", "LA", "P", "RGB", "RGBA"), {}),
    "webp": (("RGB", "RGBA"), {"lossless": True, "exact": True}),
    "lossy.webp": (("RGB", "RGBA"), {}),
    "tif": (("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr"), {}),
    "lzw.tif": (("L", "P", "RGB", "RGBA"), {"compression": "tiff_lzw"}),
    "gif": (("L", "P", "RGB"), {}),
    "bmp": (("1", "L", "P", "RGB"), {}),
    "ppm": (("L", "RGB"), {}),
}


def drawn(mode: str) -> Image.Image:
    generator = numpy.random.default_rng(0)
    pixels = generator.integers(0, 256, (5, 7, 4), dtype=numpy.uint8)
    whole = Image.fromarray(pixels.repeat(4, 0).repeat(4, 1))
    if mode in ("RGBA", "LA"):
        return whole.convert(mode)
    return whole.convert("RGB").convert(mode)


@pytest.mark.parametrize("kind", FORMATS)
def test_pictures_are_pillows_upright_rgb(kind: str, tmp_path: Path) -> None:
    modes, options = FORMATS[kind]
    for mode in modes:
        for orientation in (None, *range(1, 9), *(() if "tif" in kind else (0, 9))):
            path = tmp_path / f"picture.{kind}"
            exif = Image.Exif()
            if orientation is not None:
                exif[0x0112] = orientation
                exif[0x010F] = "a camera"
            with warnings.catch_warnings():
                # Formats without such a block take none.
                warnings.simplefilter("ignore")
                drawn(mode).save(path, **options, exif=exif)
            # From its bytes: Pillow 13 turns some TIFFs twice when it is given their path.
            with Image.open(io.BytesIO(path.read_bytes())) as opened:
                upright = numpy.array(ImageOps.exif_transpose(opened).convert("RGB"))
            found = decode_picture(path.read_bytes()).permute(1, 2, 0).numpy()
            numpy.testing.assert_array_equal(found, upright, err_msg=f"{mode} {orientation}")
            assert picture_size(path) == upright.shape[:2]
