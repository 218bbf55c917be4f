"""Processes that draw the dataset: run as a module, this file draws every n-th image.

Not a process of `multiprocessing`: a spawned one would first import the user's main script and all
of torch and Lightning, which takes longer than its share of the drawing, and a forked one may hang
in a parent that runs torch's threads. This file imports numpy and Pillow only.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

JPEG_QUALITY = 92

Record = tuple[str, dict[str, Any]]  # name of an image below the dataset's folder, what is known


def draw_share(
    folder: Path, seed: int, counts: Mapping[str, int], rank: int, processes: int
) -> Iterator[Record]:
    """Draw and write the images rank, rank + processes, … of all; yields a record of each.

    The folders of the classes must exist.
    """
    from PIL import Image

    from zf_lightning.embedded.classes import CLASSES
    from zf_lightning.embedded.draw import draw_image

    jobs = [(split, index) for split, count in counts.items() for index in range(count)]
    for split, index in jobs[rank::processes]:
        drawing = draw_image(seed, split, index)
        name = f"{split}/{drawing.class_name}/{index // len(CLASSES):05d}"
        Image.fromarray(drawing.image).save(folder / f"{name}.jpg", quality=JPEG_QUALITY)
        mask = Image.fromarray(drawing.mask).convert("L")
        mask.save(folder / "masks" / f"{name}.png", compress_level=4)
        record = {"parts": drawing.parts, "box": drawing.box, "scale": drawing.scale}
        yield f"{name}.jpg", record


def draw_all(
    folder: Path, seed: int, counts: Mapping[str, int], processes: int
) -> Iterator[Record]:
    """As `draw_share` for all images, in several processes."""
    if processes <= 1:
        yield from draw_share(folder, seed, counts, 0, 1)
        return
    single = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    environment = os.environ | single | {"PYTHONPATH": os.pathsep.join(sys.path)}
    task = {"folder": str(folder), "seed": seed, "counts": dict(counts), "processes": processes}
    workers: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(processes):
            command = [sys.executable, "-m", __spec__.name, json.dumps(task | {"rank": rank})]
            workers.append(
                subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment
                )
            )
        for lines in zip_longest(*(worker.stdout for worker in workers if worker.stdout)):
            yield from (tuple(json.loads(line)) for line in lines if line)
        if any(worker.wait() for worker in workers):
            raise RuntimeError("A process that draws the dataset failed; its message is above.")
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _main(argument: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers itself
    task = json.loads(argument)
    task["folder"] = Path(task["folder"])
    try:
        for record in draw_share(**task):
            os.write(1, (json.dumps(record) + "\n").encode())
    except BrokenPipeError:  # the parent is gone
        sys.exit(1)


if __name__ == "__main__":
    _main(sys.argv[1])
