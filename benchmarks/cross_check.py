"""What the cross-check adds to projecting an atlas (design: less than 5 %).

    python benchmarks/cross_check.py [--maps 9] [--top 9] [--images 64] [--repetitions 5]
                                     [--threads 1]

Top units of some feature maps of each convolution of ZFNet, projected to their windows, with the
cross-check and without, in turn. Each time is that of a new `Deconvnet`, which has nothing checked
yet. The check's work is the same for any number of units: with all 1,376 maps its share is smaller.
Seconds are those of the processor.
"""

import argparse
import statistics
import time

import torch
from deconvnet import pictures, top_units
from probe import zfnet

from zf_lightning.deconv import Deconvnet


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--maps", type=int, default=9, help="feature maps of each layer")
    parser.add_argument("--top", type=int, default=9)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    images = pictures(options.images)
    network = zfnet(10).network.requires_grad_(False)
    units = [*top_units(network, images, maps=options.maps, top=options.top).values()]
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for number in range(options.repetitions + 1):
        for checked, times in seconds.items():
            deconvnet = Deconvnet(network, cross_check=checked)
            deconvnet.receptive_fields([one.layer for one in units], (224, 224))
            began = time.process_time()
            deconvnet.project_layers(images, units)
            if number:  # The first is a warm-up.
                times.append(time.process_time() - began)
    ratios = [on / off for off, on in zip(seconds[False], seconds[True], strict=True)]
    print(
        f"{sum(map(len, units))} units, {options.threads} threads, torch {torch.__version__}: "
        f"{statistics.median(seconds[False]):.2f} s without, "
        f"{statistics.median(seconds[True]):.2f} s with the cross-check, ratio "
        f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
