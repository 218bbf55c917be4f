"""A whole atlas of ZFNet, from files to tiles on disk: against another checkout, and Captum.

    git worktree add /tmp/before COMMIT
    python benchmarks/atlas.py PHOTOGRAPHS [--against /tmp/before] [--captum-units 24]
                               [--maps 0] [--repetitions 1]

All feature maps of the five convolutions (or `--maps` of each), the top nine of a folder's images,
full-width ZFNet with random weights, one thread. Each checkout runs in a process of its own, and
they take turns, step by step: a bare forward pass up to conv5, the search, and projecting with
everything around it (images read again, tiles cut out, compressed, saved). Captum's
`NeuronDeconvolution` projects some of the same units in batches, once its images are in memory; its
time for all of them is computed from that. Seconds are those of the processor. Wanted: at least
twice as fast in projecting as at a3ac5a5 and 15 times as fast as Captum, a search of at most 1.05
forward passes.
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from two_checkouts import LAYERS, ask, start

WORKER = "--worker"
BATCH = 32
TOP = 9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--against", type=Path, help="the other checkout's folder")
    parser.add_argument("--captum-units", type=int, default=24, help="of each layer; 0: without")
    parser.add_argument("--maps", type=int, default=0, help="of each layer; 0: all")
    parser.add_argument("--repetitions", type=int, default=1)
    options = parser.parse_args()
    folders = {"this checkout": Path(__file__).resolve().parents[1]}
    if options.against:
        folders["the other"] = options.against.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        arguments = [str(options.photographs.resolve()), str(options.maps), scratch]
        sides = {
            name: start(Path(__file__), WORKER, folder, *arguments)
            for name, folder in folders.items()
        }
        steps = ("forward", "search", "project")
        times: dict[tuple[str, str], list[float]] = {}
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for _ in range(options.repetitions):
            for step in steps:
                for name, side in sides.items():
                    answer = ask(side, {"step": step})
                    times.setdefault((name, step), []).append(answer["seconds"])
                    found[name, step] = answer
                    print(f"{name}, {step}: {answer['seconds']:.1f} s", file=sys.stderr)
        captum = {}
        for layer in LAYERS if options.captum_units else ():
            asked = {"step": "captum", "layer": layer, "units": options.captum_units}
            captum[layer] = ask(sides["this checkout"], asked)["a_unit"]
        for side in sides.values():
            assert side.stdin is not None
            side.stdin.close()
            side.wait()
    images = found["this checkout", "search"]["images"]
    print(f"torch {torch.__version__}, one thread, {images} images")
    units = found["this checkout", "project"]["units"]
    totals = {}
    for name in sides:
        median = {step: statistics.median(times[name, step]) for step in steps}
        totals[name] = median["project"]
        print(
            f"{name}: forward {median['forward']:.1f} s, search {median['search']:.1f} s (ratio "
            f"{median['search'] / median['forward']:.3f}), projecting {sum(units.values()):,} "
            f"units {totals[name]:.1f} s, peak memory {found[name, 'project']['peak_mb']:,.0f} MB"
        )
    if options.against:
        print(
            f"projecting, the other over this: {totals['the other'] / totals['this checkout']:.2f}"
        )
    if captum:
        theirs = sum(captum[layer] * units[layer] for layer in LAYERS)
        each = ", ".join(f"{layer} {1000 * value:.0f}" for layer, value in captum.items())
        print(
            f"Captum, batched: {each} ms a unit, {theirs:.0f} s for all; over this: "
            f"{theirs / totals['this checkout']:.1f}"
        )


def worker(folder: str, photographs: str, maps: int, scratch: str) -> None:
    """Answer questions on standard input with the package of `folder`."""
    from two_checkouts import answer_with

    sys.path.insert(0, folder)
    sys.path.insert(1, f"{folder}/benchmarks")
    from probe import zfnet

    from zf_lightning import deconv
    from zf_lightning.data import UnlabelledImages

    # At a3ac5a5 the atlas was part of deconv.
    atlas: Any = deconv
    if not hasattr(deconv, "build_atlas"):
        from zf_lightning import atlas

    torch.set_num_threads(1)
    torch.manual_seed(0)
    classifier = zfnet(classes=1000)
    network = classifier.network.eval().requires_grad_(False)
    files = UnlabelledImages(photographs).split("val")
    engine = deconv.Deconvnet(network, batch_size=BATCH)
    children = dict(network.named_children())
    below = torch.nn.Sequential(*list(children.values())[: list(children).index("conv5_relu") + 1])
    top: dict[str, Any] = {}
    counts = {layer: engine.shapes([layer], (224, 224))[layer][0] for layer in LAYERS}

    def images_of(indices: Any) -> Any:
        display = torch.stack([files[index][0] for index in indices])
        preprocessing = classifier.preprocessing
        resized = preprocessing.resize(display)
        edge = (resized.shape[-1] - 224) // 2
        shown = resized[..., edge : edge + 224, edge : edge + 224]
        return atlas.ImageBatch(shown, preprocessing(display), torch.zeros(len(indices)).long())

    batches = [list(range(n, min(n + BATCH, len(files)))) for n in range(0, len(files), BATCH)]

    def act(question: dict[str, Any]) -> dict[str, Any]:
        began = time.process_time()
        done: dict[str, Any] = {"images": len(files)}
        if question["step"] == "forward":
            with torch.no_grad():
                for some in batches:
                    below(images_of(some).inputs)
        elif question["step"] == "search":
            metric = atlas.TopActivations(counts, k=TOP)
            for some in batches:
                outputs = engine.feature_maps(images_of(some).inputs, LAYERS)
                metric.update(outputs, torch.tensor(some))
            top.update(metric.compute())
        elif question["step"] == "project":
            numbers = {layer: min(maps or counts[layer], counts[layer]) for layer in LAYERS}
            drawn = {layer: range(number) for layer, number in numbers.items()}
            made = atlas.build_atlas(engine, top, images_of, input_size=(224, 224), maps=drawn)
            made.save(Path(scratch) / f"{Path(folder).name}.safetensors")
            done["units"] = {
                layer: int(top[layer].present[:number].sum()) for layer, number in numbers.items()
            }
        else:
            done["a_unit"] = _captum(
                network, images_of, top, layer=question["layer"], units=question["units"]
            )
        done["seconds"] = time.process_time() - began
        done["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return done

    answer_with(act)


def _captum(
    network: torch.nn.Module,
    images_of: Any,
    top: dict[str, Any],
    *,
    layer: str,
    units: int,
) -> float:
    """Seconds for a unit; images are read before."""
    from deconvnet import make_sides

    from zf_lightning.deconv import Units

    maps = torch.linspace(0, len(top[layer].indices) - 1, units).long()
    indices = top[layer].indices[maps, 0]
    images = images_of(indices.tolist()).inputs
    rows, columns = top[layer].rows[maps, 0], top[layer].columns[maps, 0]
    asked = Units(layer, torch.arange(units), maps, rows, columns)
    project = make_sides(network, batch_size=16)["Captum batched"]
    began = time.process_time()
    project(images, asked)
    return (time.process_time() - began) / units


if __name__ == "__main__":
    if WORKER in sys.argv:
        worker(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
    else:
        main()
