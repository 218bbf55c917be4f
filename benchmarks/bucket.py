"""Shards in a slow bucket that fails now and then, beside the same shards on this disk.

    python benchmarks/bucket.py FOLDER [--images 3200] [--workers 4] [--delay 0.05] [--fails 50]

An S3 service on this machine (moto) answers each request after `--delay` seconds, and each
`--fails`-th with 503. Two processes, each with workers, share out the training batches of JPEG
shards and a cache; each image must come once. Then the bucket fails for good, which must end in one
sentence. FOLDER holds photographs, at any depth (`--images` by links).
"""

import argparse
import itertools
import logging
import multiprocessing
import os
import tempfile
import threading
import time
import warnings
from argparse import Namespace
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import torch
from moto.server import ThreadedMotoServer
from photographs import lay_out

from zf_lightning.data import FolderSource, ImageDataModule, ShardSource
from zf_lightning.data.shards.prepare import prepare_shards
from zf_lightning.errors import UserError
from zf_lightning.system.compat import serve_through

PROCESSES = 2
BATCH = 50 * PROCESSES
#: Chunks that are mixed.
WINDOW = 8
BUCKET = "shards"


class SlowBucket:
    """Answers late, and sometimes not as it should."""

    def __init__(self, *, delay: float, fails: int) -> None:
        server = ThreadedMotoServer(port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        serve_through(server, self._around)
        self.delay, self.fails = 0.0, 0
        self.slow = delay, fails
        self.fails_for_good = False
        self.requests, self.failed = 0, 0
        self._lock = threading.Lock()

    def _around(self, app: Any) -> "SlowBucket":
        self._app = app
        return self

    def fill(self, folder: Path) -> None:
        """Copy the files of `folder` to the bucket, and be slow from then on."""
        client = boto3.client("s3", endpoint_url=self.url)
        client.create_bucket(Bucket=BUCKET)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                client.upload_file(str(path), BUCKET, str(path.relative_to(folder)))
        self.requests = 0
        self.delay, self.fails = self.slow

    def __call__(self, environment: dict[str, Any], start: Any) -> Iterable[bytes]:
        """One request, as WSGI has it."""
        with self._lock:
            self.requests += 1
            fails = self.fails > 0 and self.requests % self.fails == 0
            # Once the split is known: then only the workers are left to fail.
            fails |= self.fails_for_good and "/chunk-" in environment["PATH_INFO"]
            self.failed += fails
        time.sleep(self.delay)
        if fails:
            start("503 Service Unavailable", [("Content-Length", "0")])
            return [b""]
        return self._app(environment, start)


def read(
    root: str, cache: Path, url: str, rank: int, workers: int, epochs: int
) -> list[tuple[list[int], float, float]]:
    """For each epoch the images that one of the processes saw, its begin and its end."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".* worker processes in total")
    # The workers', as in training: spawned processes hand on how they were started.
    multiprocessing.set_start_method("fork", force=True)
    source = ShardSource(
        root,
        cache=cache,
        cache_gb=10,
        shuffle_window=WINDOW,
        storage_options={"endpoint_url": url} if "://" in root else {},
    )
    data = ImageDataModule(source, batch_size=BATCH, workers=workers)
    strategy = Namespace(root_device=torch.device("cpu"))
    data.trainer = Namespace(  # type: ignore[assignment]
        global_rank=rank, world_size=PROCESSES, num_devices=PROCESSES, strategy=strategy
    )
    loader = data.train_dataloader()
    found = []
    for _ in range(epochs):
        seen: list[int] = []
        began = time.time()
        for batch in loader:
            seen += batch.indices[batch.valid].tolist()
        found.append((seen, began, time.time()))
    return found


def read_by_all(root: str, cache: Path, url: str, workers: int, count: int) -> list[float]:
    """Images a second of two epochs; the second finds all chunks on this disk.

    Raises UserError as the first process that fails does.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        jobs = [
            pool.submit(read, root, cache, url, rank, workers, epochs=2)
            for rank in range(PROCESSES)
        ]
        found = [job.result() for job in jobs]
    rates = []
    for parts in zip(*found, strict=True):
        seen = sorted(itertools.chain.from_iterable(images for images, *_ in parts))
        assert seen == list(range(count)), "an image was lost or doubled"
        rates.append(count / (max(p[2] for p in parts) - min(p[1] for p in parts)))
    return rates


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=3200)
    parser.add_argument("--chunk-images", type=int, default=80)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--delay", type=float, default=0.05)
    parser.add_argument("--fails", type=int, default=50)
    options = parser.parse_args()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ[name] = "none"
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    # Of the server, a line a request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as temporary:
        run(options, Path(temporary))


def run(options: Namespace, place: Path) -> None:
    """Make the shards, read them from both places, and print."""
    folder = FolderSource(lay_out(options.folder, place / "folder", options.images))
    chunk_images = options.chunk_images
    shards = place / "shards"
    made = prepare_shards(
        folder, shards, format="jpeg", quality=95, chunk_images=chunk_images, progress=False
    )
    count = sum(made.counts["train"])
    print(f"{count} images in chunks of {chunk_images}, {PROCESSES} × {options.workers} workers")
    rates = read_by_all(str(shards), place / "checked", "", options.workers, count)
    print("  this disk: {:.0f} images a second, again {:.0f}".format(*rates))
    bucket = SlowBucket(delay=options.delay, fails=options.fails)
    bucket.fill(shards)
    root = f"s3://{BUCKET}"
    rates = read_by_all(root, place / "cache", bucket.url, options.workers, count)
    print("  the bucket: {:.0f} images a second, again from the cache {:.0f}".format(*rates))
    print(f"  {bucket.requests} requests for {made.chunks} chunks, of which {bucket.failed} failed")
    began = time.perf_counter()
    bucket.fails_for_good = True
    try:
        read_by_all(root, place / "other", bucket.url, options.workers, count)
    except UserError as problem:
        print(f"  failing for good, after {time.perf_counter() - began:.0f} s: {problem.sentence}")


if __name__ == "__main__":
    main()
