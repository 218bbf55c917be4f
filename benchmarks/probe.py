"""What watching all 1,376 feature maps of ZFNet adds to validation (design: at most 1.05 times).

    python benchmarks/probe.py [--batches 2] [--batch-size 64] [--repetitions 7] [--threads 1]
                               [--device cpu]

Validation here is what `ImageClassifier.validation_step` does with uint8 images in memory: resize,
normalise, crop, forward pass, errors; nothing is decoded, so that the ratio is the worst case. The
two sides take turns, each repetition with top activations that start empty, which is when most
images are among the strongest; medians, and the spread of the ratio over the repetitions. Memory is
the peak of a process of its own for either side (on a GPU, of what is allocated there). On a CPU
the seconds are those of the processor, which other programs disturb less than the clock's; several
threads that wait for one another count in full.
"""

import argparse
import functools
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from zf_lightning.atlas import TopActivations
from zf_lightning.config.instantiate import plain
from zf_lightning.data import Batch
from zf_lightning.deconv import Deconvnet
from zf_lightning.training.module import ImageClassifier

MODEL = Path(__file__).parents[1] / "conf" / "model" / "zfnet.yaml"


def zfnet(classes: int, **changes: Any) -> ImageClassifier:
    """The paper's network with random weights, its preprocessing without a training set.

    `changes` are options of `conf/model/zfnet.yaml`, as `width`.
    """
    model = plain(OmegaConf.load(MODEL))["model"] | changes
    model["initialisation"] = "he"
    model["preprocessing"] = {"mean": "imagenet", "scale": "imagenet"}
    return ImageClassifier(model, [str(number) for number in range(classes)]).eval()


def validate(
    classifier: ImageClassifier,
    deconvnet: Deconvnet,
    batches: list[Batch],
    top: TopActivations | None,
) -> float:
    """Seconds for the batches, watched by `top` if there is one: the processor's, or a GPU's."""
    clock = time.process_time if classifier.device.type == "cpu" else time.perf_counter
    classifier.capture = None
    if top is not None:
        layers = tuple(top.feature_maps)
        classifier.capture = functools.partial(deconvnet.with_feature_maps, layers=layers)
    if top is not None:
        top.reset()
    classifier.val_error.reset()
    _synchronise(classifier.device)
    began = clock()
    for number, batch in enumerate(batches):
        outputs = classifier.validation_step(batch, number)
        if top is not None:
            top.update(outputs, batch.indices, batch.valid)
    _synchronise(classifier.device)
    return clock() - began


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(*, watched: bool, options: argparse.Namespace) -> float:
    """Peak memory in MB of a new process that validates once."""
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in vars(options).items()]
    side = "watched" if watched else "unwatched"
    command = [sys.executable, __file__, *arguments[:-1], f"--memory-of={side}"]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(found.stdout.split()[-1])


def print_peak(device: torch.device) -> None:
    """Print this process's peak memory in MB."""
    if device.type == "cuda":
        print(torch.cuda.max_memory_allocated(device) / 2**20)
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory-of", choices=("watched", "unwatched"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    classifier = zfnet(1000).to(device)
    size = options.batch_size
    batches = [
        Batch(
            torch.randint(0, 256, (size, 3, 256, 256), dtype=torch.uint8, device=device),
            torch.randint(0, 1000, (size,), device=device),
            torch.arange(number * size, (number + 1) * size, device=device),
            torch.ones(size, device=device),
        )
        for number in range(options.batches)
    ]
    modules = dict(classifier.network.named_children())
    convs = {n: m.out_channels for n, m in modules.items() if isinstance(m, torch.nn.Conv2d)}
    top = TopActivations(convs).to(device)
    deconvnet = Deconvnet(classifier.network)
    without: list[float] = []
    watched: list[float] = []
    if options.memory_of is not None:
        with torch.inference_mode():
            validate(
                classifier, deconvnet, batches, top if options.memory_of == "watched" else None
            )
        print_peak(device)
        return
    with torch.inference_mode():
        validate(classifier, deconvnet, batches[:1], top)
        for _ in range(options.repetitions):
            without.append(validate(classifier, deconvnet, batches, None))
            watched.append(validate(classifier, deconvnet, batches, top))
    ratios = sorted(b / a for a, b in zip(without, watched, strict=True))
    images = size * options.batches
    print(
        f"{options.device}, {options.threads} threads, {images} images in batches of {size}, "
        f"{sum(convs.values()):,} feature maps watched"
    )
    for name, seconds in (("validation", without), ("validation, watched", watched)):
        median = statistics.median(seconds)
        print(f"  {name:<22} {median:7.2f} s   {1000 * median / images:7.2f} ms an image")
    ratio = statistics.median(watched) / statistics.median(without)
    print(f"  ratio of medians {ratio:.3f} (pairs from {ratios[0]:.3f} to {ratios[-1]:.3f})")
    state = sum(value.numel() * value.element_size() for value in top.state_dict().values())
    watched_memory, plain = (peak_memory(watched=w, options=options) for w in (True, False))
    print(
        f"  peak memory {plain:.0f} MB, watched {watched_memory:.0f} MB: "
        f"ratio {watched_memory / plain:.3f}"
    )
    print(f"  state of the probe {state / 1e6:.2f} MB, whatever the number of images")


if __name__ == "__main__":
    main()
