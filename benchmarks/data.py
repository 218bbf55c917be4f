"""What a delivered image costs: ours from folders and shards, the usual recipe, and WebDataset.

    python benchmarks/data.py FOLDER [--images 1600] [--repetitions 5] [--workers 2]

FOLDER holds photographs, at any depth. They are repeated by links to about `--images` of them, so
that all is read from memory and nothing of a disk is measured, and delivered in batches of 50.
Milliseconds are those of all processors, of this process and its workers together, once the
workers run; the cases take turns, an epoch each. The usual recipe delivers normalised float32;
ours delivers uint8, which the device normalises for a whole batch ("normalised" does that here, on
a processor).
"""

import argparse
import io
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy
import psutil
import torch
import webdataset
from litdata import StreamingDataset
from litdata.streaming.sampler import ChunkedIndex
from photographs import lay_out
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from usual_recipe import (
    MEAN,
    ONE_SQUARE,
    SQUARE,
    STD,
    TEN_CROPS,
    DecodedImages,
    image_folder,
)

from zf_lightning.data import FolderSource, ImageDataModule, ImageSource, ShardSource
from zf_lightning.data.decode import decode_jpeg
from zf_lightning.data.shards.dataset import ShardedImages
from zf_lightning.data.shards.prepare import prepare_shards

BATCH = 50
#: Images of a chunk here: some twenty chunks, of which a window of eight is mixed.
CHUNK_IMAGES = 80
#: About so many are cut in ten by the usual recipe, which takes long.
TEN_CROPPED = 200
#: Delivers the images once, and tells how many at a time.
Epoch = Callable[[], Iterable[int]]


def processor_seconds() -> float:
    """Of this process and of its workers so far, those that have ended included."""
    own = psutil.Process()
    running = [one.cpu_times() for one in (own, *own.children(recursive=True))]
    ended = running[0].children_user + running[0].children_system
    return ended + sum(used.user + used.system for used in running)


def measure(epoch: Epoch) -> tuple[float, float]:
    """Processor milliseconds an image, and images a second by the clock, of an epoch."""
    began, clock = processor_seconds(), time.perf_counter()
    count = sum(epoch())
    elapsed = time.perf_counter() - clock
    return 1e3 * (processor_seconds() - began) / count, count / elapsed


def write_tars(images: ShardedImages, folder: Path) -> list[str]:
    """The bytes of JPEG shards as WebDataset's tar files, as many in each."""
    folder.mkdir()
    names = []
    for first in range(0, len(images), CHUNK_IMAGES):
        names.append(str(folder / f"{first:06}.tar"))
        with tarfile.open(names[-1], "w") as tar:
            for index in range(first, min(first + CHUNK_IMAGES, len(images))):
                label = str(images.labels[index]).encode()
                for suffix, data in (("jpg", images.encoded(index)), ("cls", label)):
                    entry = tarfile.TarInfo(f"{index:06}.{suffix}")
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
    return names


def decoded(sample: dict[str, Any]) -> tuple[Tensor, int]:
    """An image of a tar, by the decoder that the shards are read with."""
    return decode_jpeg(sample["jpg"]), int(sample["cls"])


def ours(source: ImageSource, workers: int, *, normalised: bool = False) -> Epoch:
    """Epochs of training batches."""
    loader = ImageDataModule(source, batch_size=BATCH, workers=workers).train_dataloader()
    mean, std = (255 * torch.tensor(values)[:, None, None] for values in (MEAN, STD))

    def epoch() -> Iterator[int]:
        for batch in loader:
            if normalised:
                (batch.images - mean).div_(std)
            yield len(batch.images)

    return epoch


def others(dataset: Any, workers: int, **options: Any) -> Epoch:
    """Epochs of another dataset."""
    loader = DataLoader(dataset, num_workers=workers, persistent_workers=True, **options)
    return lambda: (len(images) for images, _ in loader)


def usual(dataset: Any, workers: int) -> Epoch:
    """Epochs of a torchvision dataset."""
    return others(dataset, workers, batch_size=BATCH, shuffle=True)


def tars(names: list[str], workers: int) -> Epoch:
    """Epochs of WebDataset."""
    dataset = webdataset.WebDataset(names, shardshuffle=100).shuffle(8 * CHUNK_IMAGES).map(decoded)
    return others(dataset.batched(BATCH), workers, batch_size=None)


def compare_pixels(root: Path) -> str:
    """How far our decoded photographs are from Pillow's, over 255."""
    images = FolderSource(root).split("val")
    differences = []
    for index in range(len(images)):
        picture = numpy.asarray(SQUARE(Image.open(images.path(index)).convert("RGB")))
        found = images[index][0].permute(1, 2, 0).numpy()
        differences.append(numpy.abs(found.astype(int) - picture.astype(int)))
    means = [float(difference.mean()) for difference in differences]
    largest = max(int(difference.max()) for difference in differences)
    return f"mean {statistics.mean(means):.3f}, worst image {max(means):.3f}, worst pixel {largest}"


def compare_readers(images: ShardedImages, folder: Path, repetitions: int) -> None:
    """Random access in the training order without decoding: LitData's reader and ours."""
    theirs = StreamingDataset(str(folder), drop_last=False)
    theirs[0]
    reader, order = theirs.cache, images.training_order(numpy.random.default_rng(0)).tolist()
    places = [images.place(index) for index in order]
    starts = numpy.cumsum([0, *(chunk.samples for chunk in images.store.chunks)])
    keys = [ChunkedIndex(int(starts[c]) + r, chunk_index=c) for c, r in places]
    microseconds: dict[str, list[float]] = {"ours": [], "LitData's": []}
    for _ in range(repetitions + 1):
        for name, read in (
            ("ours", lambda: [images.encoded(index) for index in order]),
            ("LitData's", lambda: [reader[key]["image"][:] for key in keys]),
        ):
            began = time.process_time()
            read()
            microseconds[name].append(1e6 * (time.process_time() - began) / len(order))
    for name, values in microseconds.items():
        print(f"  a sample read in training order, {name} reader: {spread(values[1:])} µs")


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):7.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1600)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        root = lay_out(options.folder, place / "folder", options.images)
        run(root, place, options.repetitions, options.workers)


def run(root: Path, place: Path, repetitions: int, workers: int) -> None:
    """Make the shards, let the cases take turns, print medians and ratios."""
    folder = FolderSource(root)
    shards = {}
    for format in ("jpeg", "raw"):
        prepare_shards(
            folder,
            place / format,
            format=format,
            quality=95,
            chunk_images=CHUNK_IMAGES,
            progress=False,
        )
        shards[format] = ShardSource(
            str(place / format), cache=place / "cache", cache_gb=1, shuffle_window=8
        )
    jpegs = shards["jpeg"].split("train")
    names = write_tars(jpegs, place / "tars")
    count = len(jpegs)
    some = range(0, count, max(1, count // TEN_CROPPED))
    ten_of_files = Subset(image_folder(root / "train", TEN_CROPS), some)
    cases: dict[str, Epoch] = {
        "usual recipe": usual(image_folder(root / "train", ONE_SQUARE), workers),
        "folder": ours(folder, workers),
        "JPEG shards": ours(shards["jpeg"], workers),
        "WebDataset": tars(names, workers),
        "raw shards": ours(shards["raw"], workers),
        "raw shards, normalised": ours(shards["raw"], workers, normalised=True),
        "ten crops of JPEGs": usual(ten_of_files, workers),
        "ten crops of decoded": usual(DecodedImages(root / "train", len(some)), workers),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for repetition in range(repetitions + 1):
        for name, case in cases.items():
            one = measure(case)
            if repetition:
                found[name].append(one)
    print(f"{count} images, {workers} workers; differences to Pillow: {compare_pixels(root)}")
    compare_readers(jpegs, place / "jpeg" / "train", repetitions)
    for name, measured in found.items():
        rate = statistics.median(rate for _, rate in measured)
        cost = spread([cpu for cpu, _ in measured])
        print(f"  {name:<22} {cost} ms an image, {rate:6.0f} a second")
    for ours_name, other in (
        ("folder", "usual recipe"),
        ("JPEG shards", "usual recipe"),
        ("JPEG shards", "WebDataset"),
        ("raw shards", "usual recipe"),
        ("raw shards, normalised", "usual recipe"),
        ("raw shards", "ten crops of decoded"),
        ("folder", "ten crops of JPEGs"),
    ):
        pairs = zip(found[other], found[ours_name], strict=True)
        ratios = [theirs / own for (theirs, _), (own, _) in pairs]
        print(f"  {ours_name} against {other}: {spread(ratios)} times")


if __name__ == "__main__":
    main()
