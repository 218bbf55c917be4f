"""The training set's mean image and standard deviation, computed once and cached (Sec. 3)."""

import logging
from pathlib import Path

import torch
from filelock import FileLock
from tqdm import tqdm

from zf_lightning.data.bad_files import BadFiles
from zf_lightning.data.decode import STORED_SIZE
from zf_lightning.data.loader import BatchLoader, collate
from zf_lightning.data.pixel_statistics import PixelStatistics, statistics_of_sums
from zf_lightning.data.sources.base import LabelledImages, SampleKey
from zf_lightning.errors import DamagedFile, UserError

log = logging.getLogger(__name__)

#: Part of the cache's key: changes when the computation or the reading of pictures does, as when
#: orientation came to be read wherever it stands (2).
VERSION = 2


def compute_statistics(
    files: LabelledImages,
    *,
    workers: int = 0,
    progress: bool = True,
    bad_files: BadFiles | None = None,
) -> PixelStatistics:
    """One streaming pass over `files`.

    Sums are kept in int64, where sums of uint8 are exact: the result does not depend on the order
    or the number of workers. Dividing is in float64.
    Raises UserError if more files are unreadable than `bad_files` allows, or all of them.
    """
    bad_files = bad_files or BadFiles(files, limit=0, option="data.max_bad_files.train")
    total = torch.zeros(3, STORED_SIZE, STORED_SIZE, dtype=torch.int64)
    squares = torch.zeros(3, dtype=torch.int64)
    count = 0
    loader = BatchLoader(
        files,  # type: ignore[arg-type]
        batch_size=32,
        num_workers=workers,
        sampler=map(SampleKey, range(len(files))),
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
        raise UserError("The data has no training image that can be read.")
    return statistics_of_sums(total, squares, count=count)


def cached_statistics(
    files: LabelledImages,
    cache: Path,
    *,
    workers: int = 0,
    progress: bool = True,
    bad_files: BadFiles | None = None,
) -> PixelStatistics:
    """The statistics of `files`: their own, or from `cache` if they were computed before.

    The key is the content of the set (names, labels and file sizes). Several processes may ask at
    once: one computes, the others wait for it.
    """
    if files.known_statistics is not None:
        return files.known_statistics
    path = cache / f"statistics-{VERSION}-{files.content_key()[:16]}.safetensors"
    found = _sound(path)
    if found is None:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            found = _sound(path)
            if found is None:
                found = compute_statistics(
                    files, workers=workers, progress=progress, bad_files=bad_files
                )
                found.save(path)
    return found


def _sound(path: Path) -> PixelStatistics | None:
    try:
        return PixelStatistics.load(path)
    except FileNotFoundError:
        return None
    except DamagedFile as damage:
        log.warning(f"{damage} It is computed again.")
        return None
