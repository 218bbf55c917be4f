"""The deconvnet of this checkout against that of another one, side by side.

    git worktree add /tmp/before COMMIT
    python benchmarks/two_checkouts.py /tmp/before [--repetitions 9] [--whole]

Each checkout runs in a process of its own and projects the same units of full-width ZFNet with
random weights; the two take turns, layer by layer, so that what disturbs the machine disturbs both.
Printed are the ratios of processor time, this checkout's over the other's, and of peak memory.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5")
MAPS = dict(zip(LAYERS, (96, 256, 384, 384, 256), strict=True))
WORKER = "--worker"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, help="the other checkout's folder")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--units", type=int, default=96, help="of each layer; an atlas has more")
    parser.add_argument("--layers", nargs="+", default=LAYERS)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--whole", action="store_true", help="also fc7, and conv5 of whole images")
    parser.add_argument("--norm", default="identity")
    options = parser.parse_args()
    here = Path(__file__).resolve().parents[1]
    arguments = (options.units, options.images, options.norm)
    sides = [
        start(Path(__file__), WORKER, folder.resolve(), *arguments)
        for folder in (here, options.other)
    ]
    cases = [(layer, True) for layer in options.layers]
    cases += [("conv5", False), ("fc7", False)] if options.whole else []
    seconds: dict[tuple[str, bool], list[list[float]]] = {case: [[], []] for case in cases}
    sums: list[dict[tuple[str, bool], float]] = [{}, {}]
    peaks = [0.0, 0.0]
    for _ in range(options.repetitions + 1):
        for case in cases:
            for number, side in enumerate(sides):
                answer = ask(side, {"layer": case[0], "local": case[1]})
                seconds[case][number].append(answer["seconds"])
                sums[number][case], peaks[number] = answer["sum"], answer["peak_mb"]
    for side in sides:
        assert side.stdin is not None
        side.stdin.close()
        side.wait()
    total = [0.0, 0.0]
    for case in cases:
        # The first is a warm-up.
        ours, theirs = (times[1:] for times in seconds[case])
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        medians = statistics.median(ours), statistics.median(theirs)
        name = f"{case[0]} {'crops' if case[1] else 'whole images'}"
        print(
            f"{name:20} ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to "
            f"{max(ratios):.2f}), {medians[0] / options.units * 1e3:.2f} and "
            f"{medians[1] / options.units * 1e3:.2f} ms a unit, largest difference of the sums "
            f"{abs(sums[0][case] - sums[1][case]) / abs(sums[1][case]):.1e}"
        )
        if case[1]:
            total = [t + m * MAPS[case[0]] for t, m in zip(total, medians, strict=True)]
    print(f"all 1,376 maps: {total[0] / total[1]:.2f}; peak memory {peaks[0] / peaks[1]:.2f}")


def start(program: Path, *arguments: object) -> "subprocess.Popen[str]":
    """A process that answers; it is told its work by arguments, of which the second is a folder."""
    return subprocess.Popen(
        [sys.executable, str(program), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=str(arguments[1]),
    )


def ask(side: "subprocess.Popen[str]", question: dict[str, Any]) -> dict[str, Any]:
    """A process's answer to a question."""
    assert side.stdin is not None and side.stdout is not None
    side.stdin.write(json.dumps(question) + "\n")
    side.stdin.flush()
    answer: dict[str, Any] = json.loads(side.stdout.readline())
    return answer


def answer_with(act: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer the questions on standard input."""
    for line in sys.stdin:
        print(json.dumps(act(json.loads(line))), flush=True)


def worker(folder: str, number: int, images: int, norm: str) -> None:
    """Answer questions on standard input with the package of `folder`."""
    sys.path.insert(0, folder)
    from zf_lightning.deconv import Deconvnet, Units

    sys.path.insert(1, f"{folder}/benchmarks")
    from probe import zfnet

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = zfnet(classes=1000).network.eval()
    generator = torch.Generator().manual_seed(0)
    pictures = 40 * torch.randn(images, 3, 224, 224, generator=generator)
    deconvnet = Deconvnet(network, norm=norm, batch_size=16)  # type: ignore[arg-type]
    shapes = deconvnet.shapes([*LAYERS, "fc7"], (224, 224))

    def act(question: dict[str, Any]) -> dict[str, Any]:
        layer = question["layer"]
        setattr(deconvnet, "crops" if hasattr(deconvnet, "crops") else "windows", question["local"])
        sizes = (*shapes[layer], 1, 1)[:3]
        maps, rows, columns = (
            torch.randint(0, size, (number,), generator=torch.Generator().manual_seed(1))
            for size in sizes
        )
        which = torch.arange(number) % images
        units = Units(layer, which, maps, rows, columns)
        start = time.process_time()
        if question["local"]:
            pixels = deconvnet.project_windows(pictures, units).pixels
        else:
            pixels = deconvnet.project(pictures, units).pixels
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        total = float(pixels.double().abs().sum())
        return {"seconds": seconds, "sum": total, "peak_mb": peak}

    answer_with(act)


if __name__ == "__main__":
    if WORKER in sys.argv:
        worker(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
    else:
        main()
