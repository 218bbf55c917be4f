"""What finding the top activations holds in memory over 1.3 M images, all 1,376 maps of ZFNet.

    python benchmarks/top_activations_memory.py [--images 1300000] [--batch-size 2000]

Activations are drawn, one value an image and feature map: what is measured is what is kept, which
does not depend on how large the feature maps were. Once the images come in any order, and once each
image excites every feature map more than all before it: nothing changes more often. The winners'
images are kept as well, as a stream does that cannot be read twice. The state and the images kept
are exact; the process's memory is what the system says, after the first thousandth and at the end.
"""

import argparse
import time
from pathlib import Path

import torch

from zf_lightning.atlas import KeptImages, TopActivations

MAPS = {"conv1": 96, "conv2": 256, "conv3": 384, "conv4": 384, "conv5": 256}
MARKS = (0.001, 0.01, 0.1, 1.0)
#: A stored image: uint8, 256×256 pixels, three colours.
IMAGE_BYTES = 3 * 256 * 256


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1_300_000)
    parser.add_argument("--batch-size", type=int, default=2000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bound = 9 * sum(MAPS.values())
    print(f"{sum(MAPS.values()):,} feature maps, top 9; at most {bound:,} images are kept,")
    print(f"which as 256×256 uint8 are {bound * IMAGE_BYTES / 1e9:.2f} GB\n")
    for order in ("in any order", "each stronger than all before"):
        measure(order, options.images, options.batch_size)


def measure(order: str, images: int, batch_size: int) -> None:
    """Stream the images by, and print what is held at each of `MARKS`."""
    generator = torch.Generator().manual_seed(0)
    metric, kept = TopActivations(MAPS), KeptImages()
    picture = torch.zeros(batch_size, 1, dtype=torch.uint8)
    print(f"images {order}")
    print("      images     state     images kept   resident memory   seconds")
    began, most, marks = time.monotonic(), 0, [round(images * mark) for mark in MARKS]
    for start in range(0, images, batch_size):
        indices = torch.arange(start, min(start + batch_size, images))
        outputs = {
            layer: torch.rand(len(indices), maps, generator=generator)
            for layer, maps in MAPS.items()
        }
        if order != "in any order":
            outputs = {layer: values + indices[:, None] for layer, values in outputs.items()}
        metric.update(outputs, indices)
        kept.update(picture[: len(indices)], indices, metric.top_indices())
        most = max(most, len(kept))
        seen = start + len(indices)
        while marks and seen >= marks[0]:
            marks.pop(0)
            state = sum(value.numel() * value.element_size() for value in states(metric))
            print(
                f"  {seen:>10,}   {state / 1e6:.3f} MB   {len(kept):>11,}   "
                f"{resident() / 1e6:>12.0f} MB   {time.monotonic() - began:>7.0f}",
                flush=True,
            )
    print(f"  most images kept at a time: {most:,}\n")


def states(metric: TopActivations) -> list[torch.Tensor]:
    """The tensors that the metric holds."""
    return [getattr(metric, name) for name in metric.metric_state]


def resident() -> float:
    """Memory of this process in bytes; NaN where the system does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return 1024.0 * int(line.split()[1])


if __name__ == "__main__":
    main()
