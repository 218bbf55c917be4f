"""Does the input keep up: the rate of training from memory, from shards and from JPEG files."""

import argparse
import contextlib
import io
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from photographs import draw_photographs, lay_out
from torch.utils.data import DataLoader
from training import WARM_UP, Clock

from on_gpu.command import (
    CLASSES,
    Command,
    begin,
    composed,
    print_rates,
    random_batch,
    ratio,
    take_turns,
)
from zf_lightning.config.instantiate import plain
from zf_lightning.data import FolderSource, ImageDataModule, ImageSource, ShardSource
from zf_lightning.data.shards.prepare import prepare_shards
from zf_lightning.system.cores import available_cores
from zf_lightning.training import build as assembly
from zf_lightning.training.module import ImageClassifier

MEMORY = "memory"


def run(options: argparse.Namespace) -> None:
    """Lay the images out in each way, and train from each in turn."""
    device = begin(options)
    workers = min(16, available_cores())
    # What the workers have fetched while the network was compiled is not their rate.
    warm_up = WARM_UP + 2 * workers
    steps = warm_up + options.batches
    with tempfile.TemporaryDirectory(dir=options.scratch) as temporary:
        place = Path(temporary)
        photographs = Path(options.folder) if options.folder else None
        if photographs is None:
            photographs = draw_photographs(place / "drawn", options.distinct)
        wanted = steps * options.batch_size
        files = sum(1 for file in photographs.rglob("*") if file.is_file())
        root = lay_out(photographs, place / "folder", math.ceil(wanted / files) * files)
        folder = FolderSource(root)
        sources: dict[str, ImageSource] = {}
        for form in ("raw", "jpeg"):
            prepare_shards(
                folder,
                place / form,
                format=form,
                quality=95,
                chunk_images=options.chunk_images,
                progress=False,
            )
            sources[f"{form} shards"] = ShardSource(
                str(place / form), cache=place / "cache", cache_gb=100, shuffle_window=8
            )
        sources["folder of JPEGs"] = folder
        config = composed(
            options,
            place,
            *("trainer.limit_val_batches=0", f"trainer.limit_train_batches={steps}"),
        )
        classifier = ImageClassifier(
            assembly.build_model_options(config),
            [str(number) for number in range(CLASSES)],
            optimizer=plain(config.optimizer),
            scheduler=plain(config.scheduler),
        )

        def rate_of(data: Any) -> float:
            clock = Clock(steps, device, warm_up=warm_up)
            quiet = io.StringIO()
            with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
                trainer = assembly.build_trainer(config)
                trainer.callbacks.append(clock)  # type: ignore[attr-defined]
                trainer.fit(classifier, data)
            return clock.seconds

        batches = [random_batch(options, device)] * steps
        sides: dict[str, Callable[[], float]] = {
            MEMORY: lambda: rate_of(DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
        }
        for name, source in sources.items():
            sides[name] = lambda source=source: rate_of(  # type: ignore[misc]
                ImageDataModule(source, batch_size=options.batch_size, workers=workers)
            )
        found = take_turns(sides, options.repetitions)
    print(f"{workers} workers, {options.batches} steps after {warm_up} that warm up")
    print_rates(found, options.batches * options.batch_size, "images")
    for name in sources:
        print(f"  rate from {name} / from memory: {ratio(found, MEMORY, name)}")


COMMAND = Command(
    """The rate of training steps with batches in the device's memory, from raw uint8 shards, from
256-pixel JPEG shards, and from a folder of JPEGs (--folder FOLDER, or drawn ones), with a worker a
core. Raw shards are memory-mapped files of uint8 images. Files are read from the page cache.""",
    run,
    {
        "batches": 100,
        "repetitions": 3,
        "folder": None,
        "distinct": 400,
        "chunk_images": 512,
        "scratch": None,
    },
)
