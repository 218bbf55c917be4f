"""What the measurements have in common: options, the network at the preset, turns, ratios."""

import argparse
import contextlib
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from probe import zfnet

from zf_lightning.cli import main as command_line
from zf_lightning.data import Batch
from zf_lightning.training.module import ImageClassifier

ROOT = Path(__file__).parents[2]
CLASSES = 1000


@dataclass(frozen=True)
class Command:
    """A measurement: what it says of itself, its own options with their defaults, and what runs."""

    description: str
    run: Callable[[argparse.Namespace], None]
    options: Mapping[str, Any]

    def add_to(self, commands: Any, name: str) -> None:
        """Make it a command of `benchmarks/gpu.py`."""
        parser = commands.add_parser(
            name, description=self.description, formatter_class=argparse.RawTextHelpFormatter
        )
        parser.set_defaults(run=self.run)
        common = {"device": "cuda", "width": 1.0, "input_size": 224, "batch_size": 128}
        common |= {"repetitions": 7}
        for option, default in {**common, **self.options}.items():
            kind = str if default is None else type(default)
            parser.add_argument(
                f"--{option.replace('_', '-')}", type=kind, default=default, help=f"{default}"
            )
        parser.add_argument("--no-compile", dest="compile", action="store_false")


def begin(options: argparse.Namespace) -> torch.device:
    """The device, after saying what it is."""
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("error: there is no GPU here; --device cpu tries the command without one.")
    torch.manual_seed(0)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        name = torch.cuda.get_device_name(device)
    else:
        name = "CPU"
    precision = "bf16-mixed, channels-last, " + ("compiled" if options.compile else "not compiled")
    print(
        f"{name}, torch {torch.__version__}; ZFNet at {options.input_size} pixels, width "
        f"{options.width}; {precision}; batches of {options.batch_size}, "
        f"{options.repetitions} repetitions"
    )
    return device


def fast_classifier(options: argparse.Namespace, device: torch.device) -> ImageClassifier:
    """ZFNet with random weights on the device, as `trainer=gpu` sets it, in evaluation mode."""
    classifier = zfnet(CLASSES, width=options.width, input_size=options.input_size).to(device)
    classifier.network.to(memory_format=torch.channels_last)
    if options.compile:
        classifier.network.compile(dynamic=False)
    return classifier


def random_batch(options: argparse.Namespace, device: torch.device) -> Batch:
    """Noise; that its pixels mean nothing costs nothing."""
    size = options.batch_size
    return Batch(
        torch.randint(0, 256, (size, 3, 256, 256), dtype=torch.uint8, device=device),
        torch.randint(0, CLASSES, (size,), device=device),
        torch.arange(size, device=device),
        torch.ones(size, device=device),
    )


def composed(options: argparse.Namespace, folder: Path, *overrides: str) -> DictConfig:
    """The configuration of a training at the preset that leaves nothing but `metrics.csv`."""
    command_line.prepare()
    command_line.quieten()
    sys.argv[1:] = []
    accelerator = "cpu" if options.device == "cpu" else "gpu"
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose(
            "config",
            [
                *("trainer=gpu", f"trainer.accelerator={accelerator}", "trainer.devices=1"),
                *("model=zfnet", "callbacks=paper", "logger=csv", "trainer.max_epochs=1"),
                *("callbacks.probe=null", "callbacks.best_checkpoint=null"),
                *("callbacks.last_checkpoint=null", "trainer.enable_checkpointing=false"),
                *("model.preprocessing.mean=imagenet", "model.preprocessing.scale=imagenet"),
                *("model.initialisation=he", "scheduler=one_cycle"),
                *(f"model.width={options.width}", f"model.input_size={options.input_size}"),
                f"callbacks.fast_network.compile={str(options.compile).lower()}",
                *(f"data.batch_size={options.batch_size}", f"paths.run={folder}"),
                *(f"paths.data={folder}", *overrides),
            ],
        )


def autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """What `trainer.precision=bf16-mixed` computes in."""
    return torch.autocast(device.type, torch.bfloat16)


def take_turns(
    sides: Mapping[str, Callable[[], float]], repetitions: int
) -> dict[str, list[float]]:
    """Seconds of each side in each repetition; a first round only warms up."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for repetition in range(repetitions + 1):
        for name, side in sides.items():
            seconds = side()
            if repetition:
                found[name].append(seconds)
    return found


def print_rates(found: Mapping[str, Sequence[float]], count: int, what: str) -> None:
    """Units a second of each side."""
    for name, seconds in found.items():
        rates = [count / one for one in seconds]
        print(f"  {name:<28} {spread(rates, '.0f')} {what} a second")


def ratio(found: Mapping[str, Sequence[float]], one: str, other: str) -> str:
    """Seconds of `one` over those of `other`, repetition by repetition."""
    pairs = zip(found[one], found[other], strict=True)
    return spread([a / b for a, b in pairs], ".3f")


def spread(values: Sequence[float], form: str) -> str:
    """Median and range."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):{form}} ({low:{form}} to {high:{form}})"
