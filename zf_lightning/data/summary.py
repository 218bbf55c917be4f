"""What was understood of the user's images: splits, classes with counts, what was ignored and why.

It is said before anything is computed, and stands as `data.json` in the run's folder.
"""

import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy

from zf_lightning.data.sources.base import SPLITS, ImageSource
from zf_lightning.system.files import write_whole

log = logging.getLogger(__name__)

#: Classes that are all named.
MOST_NAMES = 10


def summarise(source: ImageSource, *, name: str) -> dict[str, Any]:
    """Plain data about a source that is ready: `data.json`.

    `classes` has the number of images of each class in each split; images without a class count in
    `images` alone.
    """
    splits = {split: source.split(split) for split in SPLITS}
    number = len(source.class_names)
    counts = {
        split: numpy.bincount(files.labels[files.labels >= 0], minlength=number).tolist()
        for split, files in splits.items()
    }
    return {
        "data": name,
        "root": str(getattr(source, "root", "")),
        "layout": getattr(source, "layout", ""),
        "images": {split: len(files) for split, files in splits.items()},
        "same_images": [
            f"{first}={second}"
            for first, second in itertools.combinations(SPLITS, 2)
            if splits[first] is splits[second]
        ],
        "classes": {
            class_name: {split: counts[split][label] for split in SPLITS}
            for label, class_name in enumerate(source.class_names)
        },
        "ignored": dict(getattr(source, "ignored", {})),
    }


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """The summary in a few lines."""
    classes = summary["classes"]
    layout = f" ({summary['layout']})" if summary["layout"] else ""
    kinds = f"{len(classes)} classes" if classes else "no classes"
    if 0 < len(classes) <= MOST_NAMES:
        kinds += f", {', '.join(classes)}"
    lines = [f"data={summary['data']} {summary['root']}: {kinds}{layout}"]
    if "train=test" in summary["same_images"]:
        lines.append(f"  {summary['images']['train']:,} images, no splits")
    else:
        for split in SPLITS:
            if split == "test" and "val=test" in summary["same_images"]:
                lines.append("  test   the images of val")
                continue
            images = summary["images"][split]
            lines.append(f"  {split:5}  {images:,} images{_spread(classes, split)}")
    if summary["ignored"]:
        lines.append(f"  ignored: {ignored_text(summary['ignored'])}")
    return lines


def ignored_text(ignored: Mapping[str, int], *, most: int = 8) -> str:
    """`3 × .txt, 2 × hidden`, the most frequent first."""
    ordered = sorted(ignored.items(), key=lambda item: (-item[1], item[0]))
    more = [f"and {len(ordered) - most} more kinds"] if len(ordered) > most else []
    return ", ".join([f"{count:,} × {kind}" for kind, count in ordered[:most]] + more)


def write_summary(summary: Mapping[str, Any], folder: Path) -> Path:
    """Write `data.json` into a run's folder."""
    text = json.dumps(summary, indent=2, ensure_ascii=False)
    return write_whole(folder / "data.json", text.encode("utf-8", "surrogateescape") + b"\n")


def _spread(classes: Mapping[str, Mapping[str, int]], split: str) -> str:
    counts = {name: of_splits[split] for name, of_splits in classes.items()}
    if not counts:
        return ""
    fewest, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[fewest] == counts[most]:
        return f", {counts[most]:,} a class"
    return f", {counts[fewest]:,} ({fewest}) to {counts[most]:,} ({most}) a class"


def report_files(
    option: str, files: Sequence[Path], ignored: Mapping[str, int], folder: Path
) -> None:
    """Say which image files `option` means, and write `data.json` of them into a run's folder."""
    left_out = f"; ignored: {ignored_text(ignored)}" if ignored else ""
    log.info(f"{option}: {len(files):,} images{left_out}")
    summary = {"data": option, "files": list(map(str, files)), "ignored": dict(ignored)}
    write_summary(summary, folder)
