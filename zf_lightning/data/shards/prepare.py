"""Writing a dataset as shards: in one pass, on all cores, and resumable."""

import logging
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from filelock import FileLock, Timeout
from tqdm import tqdm

from zf_lightning.data.bad_files import BadFiles
from zf_lightning.data.shards.layout import (
    DATASET_FILE,
    INDEX_FILE,
    SAMPLES_FILE,
    STATISTICS_FILE,
    VERSION,
    Description,
    Samples,
    read_index,
)
from zf_lightning.data.shards.split_writer import UNFINISHED, SplitWriter
from zf_lightning.data.sources.base import SPLITS, ImageSource, LabelledImages, Split
from zf_lightning.data.sources.voc import MultiLabelFiles
from zf_lightning.errors import UserError
from zf_lightning.system.cores import available_cores, default_workers
from zf_lightning.system.digests import digest_of_file
from zf_lightning.system.sealed import read_json, write_json

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """The shards that were written and verified."""

    out: Path
    #: Samples of each class in each split.
    counts: dict[str, list[int]]
    chunks: int
    bytes: int
    #: Files that could not be read and were left out, each with the reason.
    left_out: list[str]


def prepare_shards(
    source: ImageSource,
    out: Path,
    *,
    format: str,
    quality: int,
    chunk_images: int,
    max_bad_files: Mapping[str, float] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Prepared:
    """Write all splits of `source` as shards into the folder `out`, and verify them.

    The content is the same for any number of `workers` (one a core unless given). An interrupted
    preparation resumes: finished chunks are kept. A finished one is only verified again.

    Args:
        format: `jpeg` (about 36 kB an image) or `raw` (196 kB, several times as fast to read).
        quality: of the JPEGs, 1 to 100; colours are not subsampled.
        chunk_images: images in a chunk.
        max_bad_files: how many files that cannot be read may be left out of the split that is
            trained on (`train`), and of one that is evaluated (`evaluation`): shares below 1, or
            numbers.

    Raises:
        UserError: `out` contains something else, more files cannot be read than may be left out, or
            the verification failed.
    """
    splits = _distinct_splits(source)
    out.mkdir(parents=True, exist_ok=True)
    plan: dict[str, Any] = {
        "version": VERSION,
        "format": format,
        "quality": quality if format == "jpeg" else None,
        "chunk_images": chunk_images,
        "class_names": list(source.class_names),
        "content": {name: files.content_key() for name, files in splits.items()},
    }
    try:
        # Not in the folder itself, which is to be copied as it is.
        with FileLock(out.parent / f".{out.name}.lock", timeout=0):
            left_out: list[str] = []
            if not _is_finished(out, plan):
                workers = default_workers(workers, at_most=None)
                left_out = _write_all(splits, out, plan, max_bad_files or {}, workers, progress)
            prepared = _verify(splits, out, left_out, progress)
            shutil.rmtree(out / UNFINISHED, ignore_errors=True)
            return prepared
    except Timeout:
        raise UserError(f"Another process is preparing prepare.out={out}.") from None


def _distinct_splits(source: ImageSource) -> dict[Split, LabelledImages]:
    """The splits; not the test split, where it is the validation split."""
    splits = {name: source.split(name) for name in SPLITS}
    if any(isinstance(files, MultiLabelFiles) for files in splits.values()):
        raise UserError(
            "Shards keep one label an image, and the others of these images would be lost; "
            "read them from their folder."
        )
    if splits["test"] is splits["val"]:
        del splits["test"]
    return splits


def _is_finished(out: Path, plan: dict[str, Any]) -> bool:
    """Whether `out` has the shards of `plan`; raises UserError if it has something else."""
    if (out / DATASET_FILE).exists():
        found = dict(Description.read(out / DATASET_FILE, root=str(out)).plan)
        if found != plan:
            raise UserError(_other(out, found, plan))
        return True
    plan_file = out / UNFINISHED / "plan.json"
    if plan_file.exists():
        # Of the files, each chunk has a record of its own: one that was repaired is read again.
        found = read_json(plan_file) | {"content": plan["content"]}
        if found != plan:
            raise UserError(_other(out, found, plan))
    elif any(out.iterdir()):
        raise UserError(f"prepare.out={out} is not empty; give a new folder.")
    return False


def _other(out: Path, found: dict[str, Any], plan: dict[str, Any]) -> str:
    names = [name for name in plan if found.get(name) != plan[name]]
    return (
        f"prepare.out={out} contains shards made with different options ({', '.join(names)}); "
        "give another folder, or remove it."
    )


def _write_all(
    splits: Mapping[Split, LabelledImages],
    out: Path,
    plan: dict[str, Any],
    max_bad_files: Mapping[str, float],
    workers: int,
    progress: bool,
) -> list[str]:
    """Write what is missing; returns the files that were left out, with the reasons."""
    write_json(out / UNFINISHED / "plan.json", plan)
    writers = [SplitWriter(name, files, out, plan) for name, files in splits.items()]
    done = sum(writer.images_done for writer in writers)
    total = sum(len(writer.files) for writer in writers)
    with tqdm(
        total=total, initial=done, desc="preparing", unit="image", disable=not progress
    ) as bar:
        for writer in writers:
            for images in writer.write_missing(workers=workers):
                bar.update(images)
    for writer in writers:
        bad = BadFiles.of_split(writer.files, writer.name, max_bad_files)
        bad.met = dict(enumerate(writer.left_out()))
        for text in bad.met.values() if len(bad.met) > bad.limit else ():
            log.warning(text)
        bad.check(len(bad.met))
    left_out = [text for writer in writers for text in writer.left_out()]
    counts: dict[str, int] = {writer.name: writer.finish() for writer in writers}
    writers[0].statistics().save(out / STATISTICS_FILE)
    Description(VERSION, plan["format"], plan["class_names"], counts, plan).write(out)
    return left_out


def _verify(
    splits: Mapping[Split, LabelledImages], out: Path, left_out: list[str], progress: bool
) -> Prepared:
    """Read everything again: checksums of all chunks, and the counts of all classes."""
    description = Description.read(out / DATASET_FILE, root=str(out))
    classes = len(description.class_names)
    chunks = {
        out / name / chunk.filename: chunk
        for name in description.counts
        for chunk in read_index(out / name / INDEX_FILE, where=str(out / name / INDEX_FILE))
    }
    # Threads: a checksum is computed outside of Python's lock.
    with (
        ThreadPoolExecutor(available_cores()) as pool,
        tqdm(total=len(chunks), desc="verifying", unit="chunk", disable=not progress) as bar,
    ):
        for path, found in zip(chunks, pool.map(_sum_or_reason, chunks), strict=True):
            bar.update()
            if found != chunks[path].sha256:
                raise UserError(
                    f"{path} is not what was written ({found}); remove {out} and prepare again."
                )
    counts: dict[str, list[int]] = {}
    for name, files in splits.items():
        table = out / name / SAMPLES_FILE
        samples = Samples.load(table, where=str(table))
        counts[name] = numpy.bincount(samples.labels, minlength=classes).tolist()
        expected = numpy.bincount(files.labels, minlength=classes)
        missing = int(numpy.abs(expected - counts[name]).sum())
        bad = len(files) - len(samples.labels)
        if missing != bad:
            raise UserError(f"{out / name} has {missing - bad} samples in wrong classes.")
    return Prepared(
        out=out,
        counts=counts,
        chunks=len(chunks),
        bytes=sum(chunk.bytes for chunk in chunks.values()),
        left_out=left_out,
    )


def _sum_or_reason(path: Path) -> str:
    try:
        return digest_of_file(path)
    except OSError as problem:
        return problem.strerror or str(problem)
