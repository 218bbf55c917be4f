"""task=prepare: a dataset rewritten once as shards, for data=shards."""

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from zf_lightning.config.instantiate import plain
from zf_lightning.data.shards.prepare import Prepared, prepare_shards
from zf_lightning.results.result import write_result
from zf_lightning.training import build as assembly
from zf_lightning.training.provenance import record_run

log = logging.getLogger(__name__)


def run(config: DictConfig) -> dict[str, Any]:
    """Write the shards of `data` and verify them; returns the contents of `result.json`.

    The same command resumes a preparation that was interrupted.
    """
    out = Path(config.prepare.out).expanduser().absolute()
    source = assembly.build_source(config)
    prepared = prepare_shards(
        source,
        out,
        format=config.prepare.format,
        quality=config.prepare.quality,
        chunk_images=config.prepare.chunk_images,
        max_bad_files=plain(config.data.max_bad_files),
        workers=config.data.workers,
    )
    folder = Path(config.paths.run)
    record_run(config, folder, source)
    result = {
        "task": "prepare",
        "data": config.data.name,
        "out": str(out),
        "chunks": prepared.chunks,
        "bytes": prepared.bytes,
        # In the order of the names: two classes may be called the same.
        "class_names": list(source.class_names),
        "counts": prepared.counts,
        "left_out": prepared.left_out,
    }
    write_result(folder, result)
    _report(prepared)
    return result


def _report(prepared: Prepared) -> None:
    log.info(f"\n{prepared.chunks} chunks, {prepared.bytes / 1e9:.2f} GB, written and verified:")
    for split, counts in prepared.counts.items():
        log.info(
            f"  {split:<5} {sum(counts):>9,} images, {min(counts):,} to {max(counts):,} in each of "
            f"{len(counts):,} classes"
        )
    for text in prepared.left_out:
        log.warning(f"  left out: {text}")
    log.info(
        f"Read them with data=shards data.root={prepared.out}. For a bucket: "
        f"aws s3 sync {prepared.out} s3://BUCKET/FOLDER, then data.root=s3://BUCKET/FOLDER."
    )
