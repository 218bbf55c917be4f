"""Images a second in training and inference: ours, a bare loop at its best, and the floor."""

import argparse
import contextlib
import io
import statistics
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from omegaconf import DictConfig
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader
from training import WARM_UP, Clock, bare, now, ours

from on_gpu.command import (
    CLASSES,
    Command,
    autocast,
    begin,
    composed,
    print_rates,
    random_batch,
    ratio,
    take_turns,
)
from on_gpu.floor import copy_rate, matrix_rate, parts_of, print_floor
from zf_lightning.config.instantiate import instantiate, plain
from zf_lightning.data import Batch
from zf_lightning.training import build as assembly
from zf_lightning.training.module import ImageClassifier


class ValidationClock(Clock):
    """The same for the batches of a validation."""

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Start or stop."""
        self.on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


def ready_crops(
    config: DictConfig, classifier: ImageClassifier, batches: list[Batch], device: torch.device
) -> float:
    """Seconds of the steps where even the crops are ready: network, loss and optimiser alone."""
    network = classifier.network.to(device).train()
    batch = batches[0]
    crops = classifier.preprocessing.to(device)(batch.images.to(device))
    labels = batch.labels.to(device)
    optimizer = instantiate(plain(config.optimizer), params=list(network.parameters()))
    began = 0.0
    for step in range(len(batches)):
        with torch.autocast(device.type, torch.bfloat16):
            logits = network(crops)
        loss = functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == WARM_UP - 1:
            began = now(device)
    return now(device) - began


def validated(
    config: DictConfig, classifier: ImageClassifier, batches: list[Batch], device: torch.device
) -> float:
    """Seconds of our validation."""
    clock = ValidationClock(len(batches), device)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        trainer = assembly.build_trainer(config, callbacks=False)
        trainer.callbacks.append(clock)  # type: ignore[attr-defined]
        loader: Any = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
        trainer.validate(classifier, loader, verbose=False)
    return clock.seconds


@torch.inference_mode()
def bare_inference(
    classifier: ImageClassifier,
    batches: list[Batch],
    device: torch.device,
    *,
    crops_ready: bool = False,
) -> float:
    """Seconds of forward passes alone."""
    network = classifier.network.to(device).eval()
    preprocessing = classifier.preprocessing.to(device)
    crops = preprocessing(batches[0].images)
    began = 0.0
    for step, batch in enumerate(batches):
        with autocast(device):
            network(crops if crops_ready else preprocessing(batch.images)).float().argmax(1)
        if step == WARM_UP - 1:
            began = now(device)
    return now(device) - began


def run_training(options: argparse.Namespace) -> None:
    """Measure training."""
    _run(options, training=True)


def run_inference(options: argparse.Namespace) -> None:
    """Measure inference."""
    _run(options, training=False)


def _run(options: argparse.Namespace, *, training: bool) -> None:
    device = begin(options)
    batches = [random_batch(options, device)] * (options.batches + WARM_UP)
    sides: dict[str, Callable[[], float]]
    with tempfile.TemporaryDirectory() as folder:
        without_validation = ["trainer.limit_val_batches=0"] if training else []
        config = composed(options, Path(folder), *without_validation)
        classifier = ImageClassifier(
            assembly.build_model_options(config),
            [str(number) for number in range(CLASSES)],
            optimizer=plain(config.optimizer),
            scheduler=plain(config.scheduler),
        )
        # As the callback does, so that the bare loop has it in its first turn.
        classifier.network.to(memory_format=torch.channels_last)
        if options.compile:
            classifier.network.compile(dynamic=False)
        if training:
            sides = {
                "bare loop": lambda: bare(config, classifier, batches, device),
                "ours": lambda: ours(config, classifier, batches, device),
                "bare loop, crops ready": lambda: ready_crops(config, classifier, batches, device),
            }
        else:
            sides = {
                "bare loop": lambda: bare_inference(classifier, batches, device),
                "ours": lambda: validated(config, classifier, batches, device),
                "bare loop, crops ready": lambda: bare_inference(
                    classifier, batches, device, crops_ready=True
                ),
            }
        found = take_turns(sides, options.repetitions)
        print_rates(found, options.batches * options.batch_size, "images")
        print(f"  rate of ours / bare loop {ratio(found, 'bare loop', 'ours')}: at least 0.95")
        print(f"  of ours / crops ready    {ratio(found, 'bare loop, crops ready', 'ours')}")
        parts = parts_of(
            classifier.network,
            batch=options.batch_size,
            input_size=options.input_size,
            training=training,
        )
        least = print_floor(parts, matrix_rate(device), copy_rate(device))
        step = statistics.median(found["ours"]) / options.batches
        print(f"  ours {1e3 * step:.3f} ms a step, {step / least:.2f} times the floor, of which:")
        print_kernels(sides["ours"], len(batches), step, device)
        if device.type == "cuda":
            print_waits(sides["ours"], len(batches))


def print_kernels(side: Callable[[], float], steps: int, step: float, device: torch.device) -> None:
    """What runs in a step, by name, the longest first."""
    gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with profile(activities=activities) as profiler:
        side()
    rows = []
    for event in profiler.key_averages():
        if gpu and event.device_type != torch.autograd.DeviceType.CUDA:
            continue
        microseconds = event.self_device_time_total if gpu else event.self_cpu_time_total
        rows.append((microseconds / 1e3 / steps, event.count / steps, event.key))
    rows.sort(reverse=True)
    busy = sum(milliseconds for milliseconds, _, _ in rows)
    for milliseconds, times, name in rows[:25]:
        share = 100 * milliseconds / busy
        print(f"  {milliseconds:9.3f} ms {share:5.1f} % {times:6.1f}x  {name[:90]}")
    rest = sum(milliseconds for milliseconds, _, _ in rows[25:])
    print(f"  {rest:9.3f} ms {100 * rest / busy:5.1f} %          {max(0, len(rows) - 25)} others")
    print(
        f"  {busy:9.3f} ms of work a step under the profiler; "
        f"{max(0.0, 1e3 * step - busy):.3f} ms of the step without it"
    )


def print_waits(side: Callable[[], float], steps: int) -> None:
    """Where the processor waits for the GPU, as PyTorch reports it: by line, times a step."""
    places: Counter[str] = Counter()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            side()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for one in said:
        if "synchronizing" in str(one.message):
            places[f"{one.filename.rpartition('site-packages/')[2]}:{one.lineno}"] += 1
    print("  the processor waits for the GPU, times a step:")
    for place, times in places.most_common(15):
        print(f"    {times / steps:6.2f}  {place}")


OPTIONS = {"batches": 50}
TRAINING = Command(
    """ZFNet's training step at the preset in lightning.Trainer, with filter renormalisation and the
checks, against a bare loop: the same compiled network, autocast, fused SGD, uint8 batches and
random crops on the device; against one whose crops are ready; and against the floor
(on_gpu/floor.py), with a table of what runs in a step.""",
    run_training,
    OPTIONS,
)
INFERENCE = Command(
    """The same of the validation's forward passes and errors, without gradients.""",
    run_inference,
    OPTIONS,
)
