"""The time to a first answer, and to the first step of a training.

    python benchmarks/start_up.py [--repetitions 5]

Help, a misspelt option or choice, a missing `data.root` and the parent process of a sweep are
compared with `import torch` (at most 0.5 times its time); a training run up to the end of its first
step with a bare script that imports torch, torchvision and lightning and takes one step of the same
network (at most 1.2 times). All are processes of their own and take turns. The dataset is drawn
before. Seconds are those of the clock and of the processor, which other programs disturb less; of
a sweep, those of the parent until it starts its first job.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MAIN = [sys.executable, str(ROOT / "main.py")]
QUICK = {
    "--help": [*MAIN, "--help"],
    "misspelt option": [*MAIN, "trainer.max_epoch=3"],
    "misspelt choice": [*MAIN, "ablation=drop_fc9"],
    "missing data.root": [*MAIN, "data=folder"],
    "parent of a sweep": [
        *(sys.executable, "-c"),
        # Until it starts its first job.
        "import os; from zf_lightning.sweep import jobs; jobs._run = lambda *_: os._exit(0)\n"
        "from zf_lightning.cli.main import main; main()",
        *("-m", "seed=0,1", "data=folder", "data.root=."),
    ],
}
IMPORT_TORCH = [sys.executable, "-c", "import torch"]
BARE = """
import torch, torchvision, lightning
from torch.nn import functional
from zf_lightning.models import build_convnet
one = {"padding": 1}
layer = {"kernel": 3, **one}
pool = {"kernel": 3, "stride": 2, "ceil_mode": True}
network = build_convnet(
    {
        "convs": {
            "conv1": {"maps": 96, "kernel": 7, "stride": 2, **one, "pool": pool, "norm": True},
            "conv2": {"maps": 256, "kernel": 5, "stride": 2, "pool": pool, "norm": True},
            "conv3": {"maps": 384, **layer},
            "conv4": {"maps": 384, **layer},
            "conv5": {"maps": 256, **layer, "pool": pool},
        },
        "fcs": {"fc6": {"units": 4096, "dropout": 0.5}, "fc7": {"units": 4096, "dropout": 0.5}},
        "contrast_normalisation": {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 2.0},
        "input_size": 112, "width": 0.25, "initialisation": "he", "output": "fc8",
    },
    classes=10,
)
optimizer = torch.optim.SGD(network.parameters(), lr=0.03, momentum=0.9)
loss = functional.cross_entropy(network(torch.randn(64, 3, 112, 112)), torch.arange(64) % 10)
loss.backward()
optimizer.step()
"""
RUN = [
    *MAIN,
    "logger=csv",
    "data.images={train: 128, val: 64, test: 64}",
    "data.workers=0",
    "+callbacks.first_step._target_=benchmarks.start_up.FirstStep",
]


def FirstStep() -> Any:
    """A callback that ends the process after the first step."""
    from lightning import Callback

    class Ends(Callback):
        def on_train_batch_end(self, *arguments: Any, **options: Any) -> None:
            os._exit(0)

    return Ends()


def seconds(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds of the clock and of the processor that a command takes; what it says is dropped."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime


def compare(
    commands: dict[str, list[str]],
    name: str,
    reference: list[str],
    limit: float,
    *,
    folder: Path,
    repetitions: int,
) -> None:
    """Run all commands in turns, and print their times over that of the reference."""
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(repetitions):
        for key, command in {name: reference, **commands}.items():
            found.setdefault(key, []).append(seconds(command, folder))
    middle = {
        key: [statistics.median(values) for values in zip(*times, strict=True)]
        for key, times in found.items()
    }
    print(f"\n{'':24} clock  processor    ratio to {name} (at most {limit})")
    for key, (clock, processor) in middle.items():
        ratios = (clock / middle[name][0], processor / middle[name][1])
        print(f"{key:24} {clock:5.2f}  {processor:9.2f}    {ratios[0]:.2f}  {ratios[1]:.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    repetitions = parser.parse_args().repetitions
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        compare(QUICK, "import torch", IMPORT_TORCH, 0.5, folder=folder, repetitions=repetitions)
        seconds(RUN, folder)
        bare = [sys.executable, "-c", BARE]
        compare(
            {"run to its first step": RUN},
            *("bare script", bare, 1.2),
            folder=folder,
            repetitions=repetitions,
        )


if __name__ == "__main__":
    main()
