"""Images of a source, encoded in worker processes, in a given order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zf_lightning.data.decode import STORED_SIZE
from zf_lightning.data.shards.encoding import encode_image
from zf_lightning.data.sources.base import LabelledImages
from zf_lightning.errors import UnreadableImage

#: Images that a worker encodes before it hands them over: their sum fits into 16 bits.
BLOCK = 32


@dataclass
class Block:
    """Some encoded images, and the sums that the statistics need."""

    #: Index in the source and bytes of each image that could be read.
    images: list[tuple[int, bytes]]
    #: Index and reason of each that could not.
    failures: list[tuple[int, str]]
    #: Sum over the images, int32 `[3, 256, 256]`.
    total: Tensor
    #: Sums of squares over images and pixels, int64 `[3]`.
    squares: Tensor


class _Blocks(Dataset[Block]):
    def __init__(
        self, files: LabelledImages, indices: Sequence[Sequence[int]], format: str, quality: int
    ) -> None:
        self.files = files
        self.indices = indices
        self.format = format
        self.quality = quality

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> Block:
        block = Block(
            images=[],
            failures=[],
            total=torch.zeros(3, STORED_SIZE, STORED_SIZE, dtype=torch.int32),
            squares=torch.zeros(3, dtype=torch.int64),
        )
        for index in self.indices[number]:
            try:
                image, *_ = self.files[index]
            except UnreadableImage as problem:
                block.failures.append((index, problem.sentence))
                continue
            # Of the pixels before they are encoded: the statistics are those of the source.
            whole = image.to(torch.int32)
            block.total += whole
            block.squares += whole.square().sum((1, 2))
            data = encode_image(image, format=self.format, quality=self.quality)
            block.images.append((index, data))
        return block


def encoded_blocks(
    files: LabelledImages,
    indices: Sequence[Sequence[int]],
    *,
    format: str,
    quality: int,
    workers: int,
) -> Iterator[Block]:
    """A block for each entry of `indices`, in their order, whatever the number of `workers`."""
    yield from DataLoader(
        _Blocks(files, indices, format, quality),
        batch_size=None,
        num_workers=workers,
    )
