"""One split as chunks, each written whole and with a record of it before the next."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy
import torch
from safetensors.torch import load_file, save_file

from zf_lightning.data.pixel_statistics import PixelStatistics, statistics_of_sums
from zf_lightning.data.shards.blocks import BLOCK, Block, encoded_blocks
from zf_lightning.data.shards.encoding import sample_fields
from zf_lightning.data.shards.layout import (
    INDEX_FILE,
    SAMPLES_FILE,
    Chunk,
    Samples,
    sha256_of,
    write_index,
    write_json,
)
from zf_lightning.data.sources.base import LabelledImages, Split


class SplitWriter:
    """Writes the chunks of a split that are not there yet.

    Which images are in which chunk follows from their number alone: a permutation that is always
    the same is cut into pieces of `chunk_images`. So each chunk is a random sample of the dataset,
    and mixing a few of them is as good as mixing all.

    Args:
        name: of the split.
        files: its images.
        out: folder of the chunks.
        records: folder of what is known of finished chunks.
        format, quality, chunk_images: as for `prepare_shards`.
    """

    def __init__(
        self,
        name: Split,
        files: LabelledImages,
        *,
        out: Path,
        records: Path,
        format: str,
        quality: int,
        chunk_images: int,
    ) -> None:
        self.name = name
        self.files = files
        self.out = out
        self.records = records
        self.format = format
        self.quality = quality
        self.chunk_images = chunk_images
        order = numpy.random.default_rng(0).permutation(len(files)).tolist()
        self.members: list[list[int]] = [
            order[start : start + chunk_images] for start in range(0, len(order), chunk_images)
        ]
        out.mkdir(parents=True, exist_ok=True)
        records.mkdir(parents=True, exist_ok=True)
        self._missing = [n for n in range(len(self.members)) if not self._is_done(n)]

    @property
    def images_done(self) -> int:
        """Number of images in chunks that were finished before."""
        return len(self.files) - sum(len(self.members[number]) for number in self._missing)

    def write_missing(self, *, workers: int) -> Iterator[int]:
        """Write the chunks that are missing; yields numbers of images as they are done."""
        missing = self._missing
        indices: list[Sequence[int]] = []
        lengths = []
        for number in missing:
            members = self.members[number]
            pieces = [members[start : start + BLOCK] for start in range(0, len(members), BLOCK)]
            indices += pieces
            lengths.append(len(pieces))
        if not missing:
            return
        blocks = encoded_blocks(
            self.files, indices, format=self.format, quality=self.quality, workers=workers
        )
        for number, length in zip(missing, lengths, strict=True):
            together = []
            for _ in range(length):
                block = next(blocks)
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
        config["chunk_size"] = self.chunk_images
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
            sums = load_file(self._sums_file(number))
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
            for place, (index, data) in enumerate(images):
                writer[place] = sample_fields(
                    data,
                    label=int(self.files.labels[index]),
                    index=index,
                    name=self.files.names.encoded(index),
                )
            written = Path(writer.write_chunk(on_done=True))
            # LitData names a chunk after the rank of the process too, which is not ours to choose.
            filename = f"chunk-0-{number}.bin"
            chunk = Chunk(filename, written.stat().st_size, len(images), sha256_of(written))
            config = writer.get_config()
            written.replace(self.out / filename)
        save_file(
            {
                "total": torch.stack([block.total for block in blocks]).sum(0, dtype=torch.int32),
                "squares": torch.stack([block.squares for block in blocks]).sum(0),
            },
            self._sums_file(number),
        )
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
        """Whether a chunk holds all of its files as they are now; else it is written again."""
        if not self._record_file(number).exists():
            return False
        record = self._record(number)
        return not record["failures"] and record["content"] == self._content(number)

    def _content(self, number: int) -> str:
        digest = hashlib.sha256()
        for index in self.members[number]:
            digest.update(self.files.sample_key(index))
        return digest.hexdigest()

    def _record(self, number: int) -> dict[str, Any]:
        return json.loads(self._record_file(number).read_text())

    def _record_file(self, number: int) -> Path:
        return self.records / f"{number}.json"

    def _sums_file(self, number: int) -> Path:
        return self.records / f"{number}.safetensors"
