"""What the distribution over all images adds to the search for the strongest (at most 1.1 times).

    python benchmarks/survey.py [--images 64] [--batch 16] [--repetitions 5] [--threads 1]

The five convolutions of ZFNet see the same images in the same batches. The two searches take
turns, pass by pass, each time with a new state: only the strongest images (`TopActivations`), and
also the distributions and the activations of every image (`ActivationSurvey`). Seconds are those of
the processor, with the network's forward pass. Printed too is the time of scoring the feature maps
by class, which is done once, after the search.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from deconvnet import pictures
from probe import zfnet

from zf_lightning.analysis.class_selectivity import layer_class_scores
from zf_lightning.atlas import ActivationSurvey, TopActivations
from zf_lightning.deconv import Deconvnet

LAYERS = [f"conv{number}" for number in range(1, 6)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    images = pictures(options.images)
    deconvnet = Deconvnet(zfnet(10).network.requires_grad_(False), cross_check=False)
    shapes = deconvnet.shapes(LAYERS, (224, 224))
    maps = {layer: shapes[layer][0] for layer in LAYERS}
    seconds: list[list[float]] = [[], []]
    for number in range(options.repetitions + 1):
        for which, times in enumerate(seconds):
            survey = ActivationSurvey(maps, keep_values=True)
            metric = survey if which else TopActivations(maps)
            began = time.process_time()
            for start in range(0, len(images), options.batch):
                some = images[start : start + options.batch]
                outputs = deconvnet.feature_maps(some, LAYERS)
                metric.update(outputs, torch.arange(start, start + len(some)))
            metric.compute()
            if number:  # The first is a warm-up.
                times.append(time.process_time() - began)
    ratios = [both / top for top, both in zip(*seconds, strict=True)]
    print(
        f"{len(images)} images, {sum(maps.values())} feature maps, {options.threads} threads, "
        f"torch {torch.__version__}: {statistics.median(seconds[0]):.2f} s for the strongest, "
        f"{statistics.median(seconds[1]):.2f} s with the distributions, ratio "
        f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    )
    generator = np.random.default_rng(0)
    for number, classes in ((50_000, 1_000), (1_000, 10)):
        activations = generator.random((number, 16), np.float32)
        labels = generator.integers(0, classes, number)
        began = time.process_time()
        layer_class_scores(activations, labels, classes)
        each = (time.process_time() - began) / 16
        print(f"scores of a map, {number:,} images, {classes:,} classes: {1000 * each:.1f} ms")


if __name__ == "__main__":
    main()
