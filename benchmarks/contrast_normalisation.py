"""What contrast normalisation adds to ZFNet's forward pass: PyTorch's and ours, side by side.

    python benchmarks/contrast_normalisation.py [--batch-size 32] [--repetitions 7] [--threads 1]
                                                [--device cpu]

Forward passes without gradients, of float32 as it lies and of bfloat16 in the channels-last
format; with no normalisation at all, with PyTorch's `nn.LocalResponseNorm` and with ours. The three
take turns. On a CPU the seconds are those of the processor.
"""

import argparse
import statistics
import time

import torch
from probe import zfnet
from torch import Tensor, nn

from zf_lightning.models.contrast_normalisation import LocalResponseNorm


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    images = torch.randn(options.batch_size, 3, 224, 224, device=device)
    print(f"{options.device}, {options.threads} threads, batches of {options.batch_size}")
    for dtype, memory in (
        (torch.float32, torch.contiguous_format),
        (torch.bfloat16, torch.channels_last),
    ):
        networks = {kind: built(kind, device, memory) for kind in ("none", "PyTorch", "ours")}
        seconds: dict[str, list[float]] = {kind: [] for kind in networks}
        for repetition in range(options.repetitions + 1):
            for kind, network in networks.items():
                value = timed(network, images.contiguous(memory_format=memory), dtype)
                if repetition:
                    seconds[kind].append(value)
        without = statistics.median(seconds["none"])
        print(f"  {dtype}, {memory}: {1e3 * without / options.batch_size:.1f} ms an image without")
        for kind in ("PyTorch", "ours"):
            added = [100 * (a / b - 1) for a, b in zip(seconds[kind], seconds["none"], strict=True)]
            share = 100 * (statistics.median(seconds[kind]) / without - 1)
            print(f"    {kind:<8} adds {share:5.1f} % (pairs {min(added):.1f} to {max(added):.1f})")


def built(kind: str, device: torch.device, memory: torch.memory_format) -> nn.Module:
    """ZFNet with one kind of contrast normalisation, or with none."""
    network = zfnet(1000).network
    for name, module in network.named_children():
        if isinstance(module, LocalResponseNorm):
            constants = (module.size, module.alpha, module.beta, module.k)
            replacement = {
                "none": nn.Identity(),
                "PyTorch": nn.LocalResponseNorm(*constants),
                "ours": module,
            }[kind]
            setattr(network, name, replacement)
    return network.to(device).to(memory_format=memory)


@torch.no_grad()
def timed(network: nn.Module, images: Tensor, dtype: torch.dtype) -> float:
    """Seconds of one forward pass: the processor's, or a GPU's."""
    clock = time.process_time if images.device.type == "cpu" else time.perf_counter
    with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
        if images.device.type == "cuda":
            torch.cuda.synchronize()
        began = clock()
        network(images)
        if images.device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - began


if __name__ == "__main__":
    main()
