"""The least time that a network can take on a device: its arithmetic and its memory traffic.

Operations are those of convolutions and matrix products, at the rate at which the device multiplies
large bfloat16 matrices. Bytes are what must cross the memory if nothing is kept in caches from one
part to the next and all that can be joined to a part is: each part reads its input and its weights
and writes its output, in 16 bits; rectification and dropout are free. Backwards a part reads the
gradient of its output, its input and its weights and writes the gradients of both; the optimiser
reads and writes weights and momentum in 32 bits and reads the gradient.
"""

import copy
import statistics
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from training import now

FREE = (nn.ReLU, nn.Dropout, nn.Flatten)


@dataclass(frozen=True)
class Part:
    """What one part of the network costs for a batch."""

    name: str
    operations: float
    bytes: float


def parts_of(network: nn.Module, *, batch: int, input_size: int, training: bool) -> list[Part]:
    """The parts of a sequence of modules, from the input on."""
    on_meta = copy.deepcopy(network).to("meta").eval()
    found: list[Part] = []

    def note(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weights = sum(parameter.numel() for parameter in module.parameters())
        positions = output[0, 0].numel()
        operations = 2.0 * batch * positions * weights
        taken, given = inputs[0].numel() * batch, output.numel() * batch
        traffic = 2.0 * (taken + weights + given)
        if training:
            # The gradient of the images is not asked for.
            first = not found
            operations *= 2 if first else 3
            traffic += 2.0 * (given + taken + weights) + (0 if first else 2.0 * taken)
            # Gradient of the weights written and read, weights and momentum read and written.
            traffic += 4.0 * weights * 6
        found.append(Part(name, operations, traffic))

    for name, module in on_meta.named_children():
        if not isinstance(module, FREE):
            module.register_forward_hook(
                lambda module, inputs, output, name=name: note(name, module, inputs, output)
            )
    with torch.no_grad():
        on_meta(torch.empty(1, 3, input_size, input_size, device="meta"))
    return found


def matrix_rate(device: torch.device) -> float:
    """bfloat16 operations a second in products of large matrices."""
    size = 8192 if device.type == "cuda" else 512
    left, right = torch.randn(2, size, size, device=device, dtype=torch.bfloat16).unbind()
    return 2 * size**3 / _best(lambda: left @ right, device)


def copy_rate(device: torch.device) -> float:
    """Bytes a second, read and written, in copies of a large piece of memory."""
    source = torch.empty(
        2**30 if device.type == "cuda" else 2**26, dtype=torch.uint8, device=device
    )
    target = torch.empty_like(source)
    return 2 * source.numel() / _best(lambda: target.copy_(source), device)


def _best(work: object, device: torch.device, *, times: int = 10) -> float:
    assert callable(work)
    seconds = []
    for _ in range(times):
        began = now(device)
        for _ in range(5):
            work()
        seconds.append((now(device) - began) / 5)
    # The median: what a device keeps up, not what it does once.
    return statistics.median(seconds)


def print_floor(parts: list[Part], rate: float, bandwidth: float) -> float:
    """Print the floor part by part; returns that of all together in seconds."""
    print(f"floor: {rate / 1e12:.1f} TFLOP/s, {bandwidth / 1e9:.0f} GB/s, measured here")
    print(f"  {'part':<12} {'GFLOP':>9} {'MB':>9} {'ms':>8}  bound by")
    for part in parts:
        arithmetic, memory = part.operations / rate, part.bytes / bandwidth
        print(
            f"  {part.name:<12} {part.operations / 1e9:>9.1f} {part.bytes / 1e6:>9.1f} "
            f"{1e3 * max(arithmetic, memory):>8.3f}  "
            f"{'arithmetic' if arithmetic > memory else 'memory'}"
        )
    arithmetic = sum(part.operations for part in parts) / rate
    memory = sum(part.bytes for part in parts) / bandwidth
    each = sum(max(part.operations / rate, part.bytes / bandwidth) for part in parts)
    print(
        f"  all: arithmetic {1e3 * arithmetic:.3f} ms, memory {1e3 * memory:.3f} ms: floor "
        f"{1e3 * max(arithmetic, memory):.3f} ms; part by part {1e3 * each:.3f} ms"
    )
    return max(arithmetic, memory)
