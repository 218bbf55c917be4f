"""Samples and chunks as bytes, in LitData's format: an image, its label, index and name."""

import io
import mmap
from pathlib import Path

import numpy
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from zf_lightning.data.decode import STORED_SIZE, decode_jpeg
from zf_lightning.data.shards.layout import Chunk
from zf_lightning.errors import UserError

#: Number of fields of a sample.
_FIELDS = 4


def encode_image(image: Tensor, *, format: str, quality: int) -> bytes:
    """uint8 `[3, 256, 256]` as a JPEG without chroma subsampling, or as it lies in memory."""
    if format == "raw":
        return image.numpy().tobytes()
    buffer = io.BytesIO()
    # torchvision's encoder always halves the resolution of the colours.
    transforms.to_pil_image(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def image_bytes(sample: bytes) -> bytes:
    """The image of a sample: the lengths of the fields in 4 bytes each, then the fields."""
    begin = 4 * _FIELDS
    return sample[begin : begin + int.from_bytes(sample[:4], "little")]


def decode_sample(sample: bytes, *, format: str) -> Tensor:
    """The image of a sample, uint8 `[3, 256, 256]`."""
    content = image_bytes(sample)
    if format != "raw":
        return decode_jpeg(content)
    # A copy, because what is mapped may not be written to.
    pixels = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return pixels.view(3, STORED_SIZE, STORED_SIZE)


class ChunkFile:
    """A chunk mapped into memory: the bytes of its samples by their places.

    LitData's own reader maps one chunk at a time and was made for reading one after another: with
    samples of eight chunks mixed it takes twenty times as long for a sample (`benchmarks/data.py`).

    Raises:
        UserError: the file does not contain what the index says.
    """

    def __init__(self, path: Path, chunk: Chunk) -> None:
        with path.open("rb") as opened:
            self._memory = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        # Number of samples, where each begins and where the last ends, in 4 bytes each.
        count = int.from_bytes(self._memory[:4], "little")
        if count != chunk.samples:
            raise UserError(
                f"{path} contains {count} samples, but its index.json says {chunk.samples}: "
                "prepare the shards again, or copy both anew."
            )
        self._offsets = numpy.frombuffer(self._memory[4 : (count + 2) * 4], "<u4").tolist()
        if self._offsets != sorted(self._offsets) or self._offsets[-1] > len(self._memory):
            raise UserError(f"{path} is damaged: its table of samples makes no sense.")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> bytes:
        return self._memory[self._offsets[row] : self._offsets[row + 1]]
