"""What our training step adds to a bare PyTorch loop (at most 1.05 times its time).

    python benchmarks/training.py [--model zfnet_small] [--batch-size 64] [--batches 12]
                                  [--repetitions 7] [--threads 1] [--device cpu]
                                  [--precision 32-true]

Ours is `lightning.Trainer.fit` with the module, the callbacks that train (filter renormalisation,
the checks for divergence and stalls, the progress bar) and `metrics.csv`; neither probe nor
checkpoints, which belong to the end of an epoch. The bare loop has the same network, loss,
optimizer, schedule and random crops, and nothing else. Both get the same uint8 batches from memory,
so that the ratio is the worst case: nothing is decoded. They take turns; the first steps of each
turn are not counted. On a CPU the seconds are those of the processor, which other programs disturb
less than the clock's.
"""

import argparse
import contextlib
import io
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch.nn import functional
from torch.utils.data import DataLoader

from zf_lightning.cli import main as command_line
from zf_lightning.config.instantiate import instantiate, plain
from zf_lightning.data import Batch
from zf_lightning.training import build as assembly
from zf_lightning.training.module import ImageClassifier

ROOT = Path(__file__).parents[1]
#: Steps of each turn that only warm up.
WARM_UP = 3
CLASSES = {"zfnet": 1000, "alexnet": 1000}


class Clock(lightning.Callback):
    """Seconds from the end of the last warm-up step to the end of the step number `steps`."""

    def __init__(self, steps: int, device: torch.device, *, warm_up: int = WARM_UP) -> None:
        self.steps = steps
        self.warm_up = warm_up
        self.device = device
        self.began = self.seconds = 0.0

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Start or stop."""
        if batch_idx == self.warm_up - 1:
            self.began = now(self.device)
        elif batch_idx == self.steps - 1:
            self.seconds = now(self.device) - self.began


def now(device: torch.device) -> float:
    """The processor's seconds, or the clock's where a GPU works."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def ours(
    config: DictConfig, classifier: ImageClassifier, batches: list[Batch], device: torch.device
) -> float:
    """Seconds of the steps of our training."""
    clock = Clock(len(batches), device)
    # Printed, as in a run whose output goes to a file.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        trainer = assembly.build_trainer(config)
        trainer.callbacks.append(clock)  # type: ignore[attr-defined]
        trainer.fit(classifier, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    return clock.seconds


def bare(
    config: DictConfig, classifier: ImageClassifier, batches: list[Batch], device: torch.device
) -> float:
    """Seconds of the steps of a loop that does only what must be done."""
    network = classifier.network.to(device).train()
    preprocessing = classifier.preprocessing.to(device)
    optimizer = instantiate(plain(config.optimizer), params=list(network.parameters()))
    options = {"total_steps": len(batches)} if config.scheduler.interval == "step" else {}
    scheduler = instantiate(plain(config.scheduler.schedule), optimizer=optimizer, **options)
    lowered = str(config.trainer.precision).startswith("bf16")
    began = 0.0
    for step, batch in enumerate(batches):
        images, labels, indices = (
            part.to(device) for part in (batch.images, batch.labels, batch.indices)
        )
        crops = preprocessing.random_crops(images, indices, seed=0, epoch=0)
        with torch.autocast(device.type, torch.bfloat16, enabled=lowered):
            logits = network(crops)
        loss = functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if config.scheduler.interval == "step":
            scheduler.step()
        if step == WARM_UP - 1:
            began = now(device)
    return now(device) - began


def composed(options: argparse.Namespace, folder: Path) -> DictConfig:
    """The configuration of the comparison, as a command line would compose it."""
    command_line.prepare()
    command_line.quieten()
    accelerator = "gpu" if options.device.startswith("cuda") else "cpu"
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose(
            "config",
            [
                *(f"model={options.model}", "callbacks=paper", "logger=csv", "trainer.devices=1"),
                *("callbacks.probe=null", "callbacks.best_checkpoint=null"),
                *("callbacks.last_checkpoint=null", "trainer.max_epochs=1"),
                *("trainer.enable_checkpointing=false", f"trainer.accelerator={accelerator}"),
                *(f"trainer.precision={options.precision}", "trainer.limit_val_batches=0"),
                *(f"paths.run={folder}", f"paths.data={folder}"),
                *("model.preprocessing.mean=imagenet", "model.preprocessing.scale=imagenet"),
                *("model.initialisation=he", "scheduler=one_cycle"),
            ],
        )


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="zfnet_small")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="32-true")
    options = parser.parse_args()
    sys.argv[1:] = []
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    size, steps = options.batch_size, options.batches + WARM_UP
    classes = CLASSES.get(options.model, 10)
    # One batch, met again and again: that its pixels differ costs nothing.
    batch = Batch(
        torch.randint(0, 256, (size, 3, 256, 256), dtype=torch.uint8),
        torch.randint(0, classes, (size,)),
        torch.arange(size),
        torch.ones(size),
    )
    batches = [batch] * steps
    found: dict[str, list[float]] = {"bare loop": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        config = composed(options, Path(folder))
        names = [str(number) for number in range(classes)]
        classifier = ImageClassifier(
            assembly.build_model_options(config),
            names,
            optimizer=plain(config.optimizer),
            scheduler=plain(config.scheduler),
        )
        for _ in range(options.repetitions):
            found["bare loop"].append(bare(config, classifier, batches, device))
            found["ours"].append(ours(config, classifier, batches, device))
    print(
        f"{options.model} on {options.device}, {options.threads} threads, {options.precision}, "
        f"{options.batches} steps of {size} images, {options.repetitions} repetitions"
    )
    for name, seconds in found.items():
        milliseconds = [1000 * one / options.batches for one in seconds]
        print(
            f"  {name:<10} {statistics.median(milliseconds):9.1f} ms a step "
            f"({min(milliseconds):.1f} to {max(milliseconds):.1f})"
        )
    ratios = sorted(b / a for a, b in zip(found["bare loop"], found["ours"], strict=True))
    print(
        f"  ours / bare: median {statistics.median(ratios):.3f} "
        f"({ratios[0]:.3f} to {ratios[-1]:.3f})"
    )


if __name__ == "__main__":
    main()
