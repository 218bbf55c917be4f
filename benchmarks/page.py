"""How long the page of a whole atlas of ZFNet takes to show: 1,376 feature maps of nine images.

    python benchmarks/page.py [--repetitions 5] [--folder FOLDER]

The tiles are generated: smooth patches, and projections that are noise at the edges of them. The
page is opened from the disk by a Chromium of the system, each time in a new profile, until all
that is in sight is drawn: tiles, or the pictures of a feature map; then a search over all feature
maps, and one that is opened. The bar is 2 s to the first view. `--folder` keeps the page, to be
looked at.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from zf_lightning.atlas import Atlas, LayerAtlas
from zf_lightning.atlas.levels import in_steps
from zf_lightning.report.page import write_report
from zf_lightning.report.wall import MapWall

INPUT, IMAGES, CLASSES = 224, 9, 1000
#: Layers of ZFNet: feature maps, and receptive fields in pixels.
LAYERS = {
    "conv1": (96, 7),
    "conv2": (256, 27),
    "conv3": (384, 75),
    "conv4": (384, 107),
    "conv5": (256, 139),
}
SEEN = """() => [...document.querySelectorAll(
        document.getElementById('map').open ? '#map img' : '#wall img')]
    .filter(image => image.getBoundingClientRect().top < innerHeight)
    .every(image => image.complete && image.naturalWidth)"""
#: Resolves when the browser has drawn.
DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def main() -> None:
    """Draw the wall, and show it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        began = time.perf_counter()
        wall = MapWall(folder)
        for layer in LAYERS:
            wall.add(atlas_of(layer))
        wall.write()
        report = write_report(folder)
        maps = sum(count for count, _ in LAYERS.values())
        size = sum(file.stat().st_size for file in report.parent.rglob("*") if file.is_file())
        seconds = time.perf_counter() - began
        print(f"{maps:,} feature maps drawn in {seconds:.0f} s, {size / 1e6:.0f} MB")
        show(report, options.repetitions)


def atlas_of(layer: str) -> Atlas:
    """One layer, as `task=atlas` finds it, of generated images."""
    maps, field = LAYERS[layer]
    generator = torch.Generator().manual_seed(field)
    indices = torch.randint(0, 50_000, (maps, IMAGES), generator=generator)
    corners = torch.randint(0, INPUT - field + 1, (maps, IMAGES, 2), generator=generator)
    patches = smooth((maps * IMAGES, 3, field, field), generator)
    edges = functional.pad(patches.diff(dim=-1), (0, 1))
    edges *= torch.randn(edges.shape, generator=generator)
    shape = (maps, IMAGES, 3, field, field)
    levels, steps, peaks = in_steps(edges.view(shape))
    found = LayerAtlas(
        layer=layer,
        receptive_field=(field, field),
        activations=torch.rand(maps, IMAGES, generator=generator).sort(1, True).values + 1,
        indices=indices,
        labels=indices % CLASSES,
        rows=torch.zeros_like(indices),
        columns=torch.zeros_like(indices),
        windows=torch.cat([corners, torch.full_like(corners, field)], -1),
        nans=torch.zeros(maps, dtype=torch.int64),
        drawn=torch.arange(maps),
        tiles=corners,
        patches=(255 * patches).to(torch.uint8).view(shape),
        inside=torch.ones(maps, IMAGES, field, field, dtype=torch.bool),
        levels=levels,
        steps=steps,
        peaks=peaks,
    )
    classes = tuple(f"class {number}, with a synonym" for number in range(CLASSES))
    names = {
        index: f"n{index % CLASSES:08}/ILSVRC2012_val_{index:08}.JPEG"
        for index in indices.flatten().tolist()
    }
    return Atlas(
        {layer: found},
        (INPUT, INPUT),
        "deconvnet",
        "identity",
        classes=classes,
        split="val",
        names=names,
    )


def smooth(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Random pictures in 0..1, of about ten blobs across."""
    coarse = torch.rand(shape[0], 3, 10, 10, generator=generator)
    return functional.interpolate(coarse, size=shape[2:], mode="bicubic").clamp_(0, 1)


def show(report: Path, repetitions: int) -> None:
    """Print medians, and the slowest of the repetitions."""
    from playwright.sync_api import sync_playwright

    seconds: dict[str, list[float]] = {}
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("The page is opened in chromium or google-chrome; neither is there.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, chromium_sandbox=False)
        for _ in range(repetitions):
            for address in ("", "#conv3", "#conv5/123"):
                context = browser.new_context(viewport={"width": 1400, "height": 1000})
                tab = context.new_page()
                began = time.perf_counter()
                tab.goto(report.as_uri() + address)
                drawn(tab, seconds, f"first view {address}".strip(), began)
                if not address:
                    began = time.perf_counter()
                    tab.locator("#search").fill("class 12")
                    drawn(tab, seconds, "search", began)
                    began = time.perf_counter()
                    tab.locator("#wall a").first.click()
                    drawn(tab, seconds, "a feature map opened", began)
                context.close()
        browser.close()
    for what, times in seconds.items():
        print(f"{what:<24} {statistics.median(times):.2f} s (at most {max(times):.2f})")


def drawn(tab: Any, seconds: dict[str, list[float]], what: str, began: float) -> None:
    """Wait until what is in sight is drawn, and add the time."""
    tab.wait_for_function(SEEN)
    tab.evaluate(DRAWN)
    seconds.setdefault(what, []).append(time.perf_counter() - began)


if __name__ == "__main__":
    main()
