"""A sample as bytes: a JPEG or raw pixels, with its label, index and name."""

import io
from typing import Any

import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.v2 import functional as transforms

from zf_lightning.data.decode import STORED_SIZE

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
    """The image of a sample in LitData's encoding.

    That is the length of each of its fields in 4 bytes, then the fields; the image is the first.
    """
    begin = 4 * _FIELDS
    return sample[begin : begin + int.from_bytes(sample[:4], "little")]


def decode_sample(sample: bytes, *, format: str) -> Tensor:
    """uint8 `[3, 256, 256]` of a sample in LitData's encoding."""
    # A copy, because what is mapped may not be written to.
    data = torch.frombuffer(bytearray(image_bytes(sample)), dtype=torch.uint8)
    if format == "raw":
        return data.view(3, STORED_SIZE, STORED_SIZE)
    return decode_jpeg(data, mode=ImageReadMode.RGB)


def sample_fields(image: bytes, *, label: int, index: int, name: bytes) -> dict[str, Any]:
    """What LitData's readers get for a sample; `index` is that in the source of the shards."""
    return {"image": image, "label": label, "index": index, "name": name}
