"""The training set's mean image and standard deviation, computed once and kept (Sec. 3)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import Sampler
from tqdm import tqdm

from zf_lightning.data.bad_files import BadFiles
from zf_lightning.data.decode import STORED_SIZE
from zf_lightning.data.loader import BatchLoader, collate
from zf_lightning.data.sources.base import LabelledFiles, SampleKey
from zf_lightning.errors import UserError

#: Part of the cache's key: changes when the computation does.
VERSION = 1


@dataclass(frozen=True)
class PixelStatistics:
    """Of all training images, in 0..255."""

    #: float32 `[3, 256, 256]`.
    mean_image: Tensor
    #: float32 `[3]`.
    channel_mean: Tensor
    #: float32 `[3]`.
    channel_std: Tensor

    def save(self, path: Path) -> None:
        """Write to a safetensors file, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        save_file(vars(self), unfinished)
        unfinished.rename(path)

    @classmethod
    def load(cls, path: Path) -> "PixelStatistics":
        """Read what `save` wrote."""
        return cls(**load_file(path))


def compute_statistics(
    files: LabelledFiles,
    *,
    workers: int = 0,
    progress: bool = True,
    bad_files: BadFiles | None = None,
) -> PixelStatistics:
    """One streaming pass over `files`.

    Sums are kept in int64, where sums of uint8 are exact: the result does not depend on the order
    or the number of workers. Dividing is in float64.
    Files that cannot be read are left out as far as `bad_files` allows.
    Raises UserError if it does not, or if nothing is left.
    """
    bad_files = bad_files or BadFiles(files, limit=0, option="data.max_bad_files.train")
    total = torch.zeros(3, STORED_SIZE, STORED_SIZE, dtype=torch.int64)
    squares = torch.zeros(3, dtype=torch.int64)
    count = 0
    loader = BatchLoader(
        files,  # type: ignore[arg-type]
        batch_size=32,
        num_workers=workers,
        sampler=_InOrder(len(files)),
        collate_fn=collate,
    )
    loader.bad_files = bad_files
    with tqdm(total=len(files), desc="mean image", unit="image", disable=not progress) as bar:
        for batch in loader:
            whole = batch.images[batch.valid].to(torch.int64)
            total += whole.sum(0)
            squares += whole.square().sum((0, 2, 3))
            count += len(whole)
            bar.update(len(batch.images))
    if not count:
        raise UserError("No training image can be read, so that there is no mean image.")
    pixels = count * STORED_SIZE * STORED_SIZE
    mean = total.sum((1, 2)).double() / pixels
    variance = squares.double() / pixels - mean.square()
    return PixelStatistics(
        mean_image=(total.double() / count).float(),
        channel_mean=mean.float(),
        # A set of one colour has no spread to divide by.
        channel_std=variance.clamp(min=1.0).sqrt().float(),
    )


def cached_statistics(
    files: LabelledFiles,
    cache: Path,
    *,
    workers: int = 0,
    progress: bool = True,
    bad_files: BadFiles | None = None,
) -> PixelStatistics:
    """The statistics of `files`, from `cache` if they were computed before.

    The key is the content of the set (names, labels and file sizes). Several processes may ask at
    once: one computes, the others wait for it.
    """
    path = cache / f"statistics-{VERSION}-{files.content_key()[:16]}.safetensors"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                compute_statistics(
                    files, workers=workers, progress=progress, bad_files=bad_files
                ).save(path)
    return PixelStatistics.load(path)


class _InOrder(Sampler[SampleKey]):
    """All samples as they lie on the disk."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[SampleKey]:
        return map(SampleKey, range(self.length))
