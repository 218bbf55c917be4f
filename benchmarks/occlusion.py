"""Occlusion side by side with Captum's and with a loop like MONAI's.

    python benchmarks/occlusion.py [--networks zfnet squeezenet1_0 resnet18] [--size 32]
                                   [--stride 8] [--candidates 16 32 64 128] [--repetitions 3]
                                   [--threads 1] [--device cpu]

One image of 224×224, one square, the same positions for all. Ours fills three maps in one pass
(total activation of a layer's strongest feature map, probability, most probable class: panels b, d
and e of Fig. 7) and projects that feature map (panel c); the others give one value a position, the
change of one class's score. The sides:

- ours: only what the square changed is computed again (`windows=True`), with batches of 64.
- ours, whole images: `windows=False`.
- Captum, default: one position at a time.
- Captum, best: the fastest of several `perturbations_per_eval`, tried beforehand.
- a loop like MONAI's: batches of occluded copies of the image, and their scores.

Sides take turns; the seconds are those of the processor (those of the clock stand beside them),
medians over the repetitions. The script checks that all sides agree.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torchvision
from captum.attr import Occlusion as CaptumOcclusion
from omegaconf import OmegaConf
from torch import Tensor, nn

from zf_lightning.analysis import ObservedNetwork, occlude
from zf_lightning.analysis.squares import grid_starts
from zf_lightning.config.instantiate import plain
from zf_lightning.deconv import Deconvnet, Unit
from zf_lightning.models import build_convnet

MODEL = Path(__file__).parents[1] / "conf" / "model" / "zfnet.yaml"
SIDE, CLASS = 224, 7


def network_of(name: str) -> nn.Module:
    """A network with random weights: ours, or one of torchvision's."""
    if name != "zfnet":
        return torchvision.models.get_model(name, weights=None).eval()
    model = plain(OmegaConf.load(MODEL))["model"]
    model["initialisation"] = "he"
    return build_convnet(model, classes=1000).eval()


def ours(network: nn.Module, image: Tensor, size: int, stride: int, *, windows: bool) -> Tensor:
    """All four panels; returns the scores' change as far as it can be compared: log-probability."""
    observed = ObservedNetwork(network)
    (found,) = occlude(
        observed, image, labels=[CLASS], size=size, stride=stride, windows=windows, batch_size=64
    )
    deconvnet = Deconvnet(network)
    maps = deconvnet.forward(image, [found.layer]).outputs[found.layer][0, found.feature_map]
    place = int(maps.argmax())
    unit = Unit(0, found.layer, found.feature_map, *divmod(place, maps.shape[1]))
    deconvnet.project_windows(image, [unit])
    return found.log_probability


def captum(network: nn.Module, image: Tensor, size: int, stride: int, evaluations: int) -> Tensor:
    """Captum's attribution `[H, W]`: a pixel's mean change over the squares that hide it."""
    occlusion = CaptumOcclusion(lambda images: network(images).log_softmax(1))
    found = occlusion.attribute(
        image,
        (3, size, size),
        strides=(3, stride, stride),
        target=CLASS,
        perturbations_per_eval=evaluations,
    )
    return found[0, 0]


@torch.no_grad()
def loop(network: nn.Module, image: Tensor, size: int, stride: int) -> Tensor:
    """Occluded copies of the image in batches of 64, as MONAI's OcclusionSensitivity makes them."""
    starts = grid_starts(SIDE, size, stride)
    places = [(top, left) for top in starts for left in starts]
    found = []
    for begin in range(0, len(places), 64):
        some = places[begin : begin + 64]
        batch = image.repeat(len(some), 1, 1, 1)
        for copy, (top, left) in zip(batch, some, strict=True):
            copy[:, top : top + size, left : left + size] = 0
        found.append(network(batch).log_softmax(1)[:, CLASS])
    return torch.cat(found).view(len(starts), len(starts))


def timed(run: Callable[[], Tensor], device: str) -> tuple[float, float, Tensor]:
    """Seconds of the processor (of the clock on a GPU), seconds of the clock, and the result."""
    if device != "cpu":
        torch.cuda.synchronize()
    began, processor = time.perf_counter(), time.process_time()
    result = run()
    if device != "cpu":
        torch.cuda.synchronize()
    clock = time.perf_counter() - began
    return time.process_time() - processor if device == "cpu" else clock, clock, result


def check(found: Tensor, expected: Tensor, what: str) -> None:
    """Raise unless two maps agree to float32."""
    worst = float((found.double() - expected.to(found.device).double()).abs().max())
    scale = float(expected.double().abs().max())
    if worst > 1e-4 * max(1.0, scale):
        raise SystemExit(f"{what} differs by {worst:.2g} of {scale:.2g}: nothing was measured.")


def compare(name: str, options: argparse.Namespace) -> None:
    """Measure one network and print its rows."""
    size, stride, device = options.size, options.stride, options.device
    network = network_of(name).to(device)
    image = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(device)
    tried = {
        number: timed(partial(captum, network, image, size, stride, number), device)[0]
        for number in options.candidates
    }
    best = min(tried, key=lambda number: tried[number])
    sides: dict[str, Callable[[], Tensor]] = {
        "ours": partial(ours, network, image, size, stride, windows=True),
        "ours, whole images": partial(ours, network, image, size, stride, windows=False),
        f"Captum, best ({best} at a time)": partial(captum, network, image, size, stride, best),
        "Captum, default (1)": partial(captum, network, image, size, stride, 1),
        "a loop like MONAI's": partial(loop, network, image, size, stride),
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    clock: dict[str, list[float]] = {side: [] for side in sides}
    results: dict[str, Tensor] = {}
    for _ in range(options.repetitions):
        for side, run in sides.items():
            taken, passed, results[side] = timed(run, device)
            seconds[side].append(taken)
            clock[side].append(passed)
    check(results["ours"], results["ours, whole images"], "windows")
    check(results["ours"], results["a loop like MONAI's"], "the loop")
    positions = len(grid_starts(SIDE, size, stride)) ** 2
    print(f"\n{name}: {positions} positions of a square of {size}, {stride} apart")
    for side in sides:
        ratios = sorted(a / b for a, b in zip(seconds[side], seconds["ours"], strict=True))
        median = statistics.median(seconds[side])
        print(
            f"  {side:<28} {median:8.2f} s  {statistics.median(clock[side]):8.2f} s on the clock   "
            f"{statistics.median(ratios):6.2f} times ours ({ratios[0]:.2f} to {ratios[-1]:.2f})",
            flush=True,
        )


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["zfnet", "squeezenet1_0", "resnet18"])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--stride", type=int, default=8)
    parser.add_argument("--candidates", nargs="+", type=int, default=[16, 32, 64, 128])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    print(f"{options.device}, {options.threads} threads, {options.repetitions} repetitions")
    for name in options.networks:
        compare(name, options)


if __name__ == "__main__":
    main()
