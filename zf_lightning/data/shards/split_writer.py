"""One split as chunks, each written whole and with a record of it before the next."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zf_lightning.data.decode import STORED_SIZE
from zf_lightning.data.pixel_statistics import PixelStatistics, statistics_of_sums
from zf_lightning.data.shards.encoding import encode_image
from zf_lightning.data.shards.layout import (
    INDEX_FILE,
    SAMPLES_FILE,
    Chunk,
    Samples,
    write_index,
)
from zf_lightning.data.sources.base import LabelledImages, Split
from zf_lightning.errors import DamagedFile, UnreadableImage
from zf_lightning.system.digests import digest_of, digest_of_file
from zf_lightning.system.processes import follow_loader
from zf_lightning.system.sealed import read_json, read_tensors, write_json, write_tensors

#: Images that a worker encodes before it hands them over: their sum fits into 16 bits.
BLOCK = 32
#: Folder of the records of finished chunks, in the folder of the shards; removed at the end.
UNFINISHED = ".unfinished"
#: What the file of a chunk's sums calls itself.
SUMS = "zf-lightning sums 1"


@dataclass
class Block:
    """Some encoded images, and the sums that the statistics need."""

    #: Index in the source and bytes of each image that could be read.
    images: list[tuple[int, bytes]] = field(default_factory=list)
    #: Index and reason of each that could not.
    failures: list[tuple[int, str]] = field(default_factory=list)
    #: Sum over the images.
    total: Tensor = field(
        default_factory=lambda: torch.zeros(3, STORED_SIZE, STORED_SIZE, dtype=torch.int32)
    )
    #: Sums of squares over images and pixels.
    squares: Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.int64))


@dataclass
class _Blocks(Dataset[Block]):
    """The blocks of `indices`, encoded when they are asked for: in the workers of a loader."""

    files: LabelledImages
    indices: list[list[int]]
    format: str
    quality: int

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> Block:
        block = Block()
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


class SplitWriter:
    """Writes the chunks of a split that are not there yet.

    Which images are in which chunk follows from their number alone: a permutation that is always
    the same is cut into pieces of `chunk_images`. So each chunk is a random sample of the dataset,
    and mixing a few of them is as good as mixing all.

    Args:
        name: of the split.
        files: its images.
        out: folder of the shards.
        plan: `format`, `quality` and `chunk_images` as for `prepare_shards`.
    """

    def __init__(
        self, name: Split, files: LabelledImages, out: Path, plan: Mapping[str, Any]
    ) -> None:
        self.name = name
        self.files = files
        self.out = out / name
        self.records = out / UNFINISHED / name
        self.plan = plan
        order = numpy.random.default_rng(0).permutation(len(files)).tolist()
        self.members = _pieces(order, plan["chunk_images"])
        self.out.mkdir(parents=True, exist_ok=True)
        self.records.mkdir(parents=True, exist_ok=True)
        self._missing = [n for n in range(len(self.members)) if not self._is_done(n)]

    @property
    def images_done(self) -> int:
        """Number of images in chunks that were finished before."""
        return len(self.files) - sum(len(self.members[number]) for number in self._missing)

    def write_missing(self, *, workers: int) -> Iterator[int]:
        """Write the chunks that are missing; yields numbers of images as they are done."""
        if not self._missing:
            return
        pieces = {number: _pieces(self.members[number], BLOCK) for number in self._missing}
        indices = [piece for chunk in pieces.values() for piece in chunk]
        encoder = _Blocks(self.files, indices, self.plan["format"], self.plan["quality"] or 0)
        # In the order of `indices`, whatever the number of workers.
        loader = DataLoader(
            encoder, batch_size=None, num_workers=workers, worker_init_fn=follow_loader
        )
        blocks = iter(loader)
        for number, chunk in pieces.items():
            together = []
            for block in islice(blocks, len(chunk)):
                together.append(block)
                yield len(block.images) + len(block.failures)
            self._write_chunk(number, together)

    def left_out(self) -> list[str]:
        """Files that could not be read, with the reasons."""
        return [
            reason
            for number in range(len(self.members))
            for _, reason in self._record(number)["failures"]
        ]

    def finish(self) -> int:
        """Write the split's index and table of samples; returns the number of samples.

        Samples are numbered as in the source; files that were left out have no number.
        """
        chunks: list[Chunk] = []
        places: list[tuple[int, int, int]] = []
        config: dict[str, Any] = {}
        for number in range(len(self.members)):
            record = self._record(number)
            if record["chunk"] is None:
                continue
            config = record["config"]
            places += [(index, len(chunks), row) for row, index in enumerate(record["indices"])]
            chunks.append(Chunk(**record["chunk"]))
        places.sort()
        Samples(
            labels=numpy.array([self.files.labels[index] for index, *_ in places], numpy.int32),
            chunks=numpy.array([chunk for _, chunk, _ in places], numpy.int32),
            rows=numpy.array([row for *_, row in places], numpy.int32),
            names=numpy.array([self.files.names.encoded(index) for index, *_ in places]),
            checksums=numpy.array([chunk.sha256.encode() for chunk in chunks]),
        ).save(self.out / SAMPLES_FILE)
        # The same whatever the last chunk's size.
        config["chunk_size"] = self.plan["chunk_images"]
        write_index(self.out / INDEX_FILE, chunks, config)
        listed = {chunk.filename for chunk in chunks}
        for file in self.out.glob("chunk-*.bin"):
            # Of an earlier start, when there were more files.
            if file.name not in listed:
                file.unlink()
        return len(places)

    def statistics(self) -> PixelStatistics:
        """Mean image and spread of the split's images."""
        total = torch.zeros((), dtype=torch.int64)
        squares = torch.zeros((), dtype=torch.int64)
        images = 0
        for number in range(len(self.members)):
            _, sums = read_tensors(self._sums_file(number), SUMS)
            total = total + sums["total"].to(torch.int64)
            squares = squares + sums["squares"]
            images += len(self._record(number)["indices"])
        return statistics_of_sums(total, squares, count=images)

    def _write_chunk(self, number: int, blocks: list[Block]) -> None:
        # Imported here: it takes a second, and nobody else needs it.
        from litdata.streaming.writer import BinaryWriter

        images = [image for block in blocks for image in block.images]
        chunk, config = None, None
        if images:
            writer = BinaryWriter(str(self.records), chunk_size=len(images) + 1, chunk_index=number)
            for row, (index, data) in enumerate(images):
                writer[row] = {
                    "image": data,
                    "label": int(self.files.labels[index]),
                    "index": index,
                    "name": self.files.names.encoded(index),
                }
            written = Path(writer.write_chunk(on_done=True))
            # LitData names a chunk after the rank of the process too, which is not ours to choose.
            filename = f"chunk-0-{number}.bin"
            chunk = Chunk(filename, written.stat().st_size, len(images), digest_of_file(written))
            config = writer.get_config()
            written.replace(self.out / filename)
        sums = {
            "total": torch.stack([block.total for block in blocks]).sum(0, dtype=torch.int32),
            "squares": torch.stack([block.squares for block in blocks]).sum(0),
        }
        write_tensors(self._sums_file(number), SUMS, sums, {})
        # Last: a chunk with a record is finished.
        write_json(
            self._record_file(number),
            {
                "content": self._content(number),
                "chunk": asdict(chunk) if chunk else None,
                "config": config,
                "indices": [index for index, _ in images],
                "failures": [failure for block in blocks for failure in block.failures],
            },
        )

    def _is_done(self, number: int) -> bool:
        """Whether a chunk has all of its files as they are now; else it is written again."""
        try:
            record = self._record(number)
            read_tensors(self._sums_file(number), SUMS)
        except (FileNotFoundError, DamagedFile):
            return False
        return not record["failures"] and record["content"] == self._content(number)

    def _content(self, number: int) -> str:
        return digest_of(map(self.files.sample_key, self.members[number]))

    def _record(self, number: int) -> dict[str, Any]:
        return read_json(self._record_file(number))

    def _record_file(self, number: int) -> Path:
        return self.records / f"{number}.json"

    def _sums_file(self, number: int) -> Path:
        return self.records / f"{number}.safetensors"


def _pieces(indices: list[int], length: int) -> list[list[int]]:
    return [indices[start : start + length] for start in range(0, len(indices), length)]
