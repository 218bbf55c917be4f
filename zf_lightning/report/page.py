"""`report/index.html`: the result, the curves, and the grids of each layer and epoch."""

import json
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from zf_lightning.report.curves import draw_curves

PICTURE = re.compile(r"(?:epoch=(\d+)_)?(.+)\.png")


def write_report(folder: Path) -> Path:
    """Write the page of a run from what is in its folder by now; returns its path.

    It may be called after each epoch, and again when the result is there.
    """
    environment = Environment(
        loader=PackageLoader("zf_lightning.report"), autoescape=select_autoescape()
    )
    layers, epochs = find_pictures(folder / "figures")
    page = environment.get_template("index.html").render(
        name=folder.resolve().name,
        result=_read_result(folder / "result.json"),
        curves=draw_curves(folder / "metrics.csv"),
        layers=layers,
        epochs=epochs,
    )
    path = folder / "report" / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(page)
    unfinished.rename(path)
    return path


def find_pictures(folder: Path) -> tuple[list[str], list[int]]:
    """The layers and the epochs of which there are grids, in order; outside training no epochs."""
    found = [match for file in folder.glob("*.png") if (match := PICTURE.fullmatch(file.name))]
    layers = sorted({match[2] for match in found}, key=_natural)
    return layers, sorted({int(match[1]) for match in found if match[1]})


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _atlas_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    layers: dict[str, dict[str, int]] = result["layers"]
    maps = sum(layer["feature_maps"] for layer in layers.values())
    return [
        ("network", f"{result['model']} ({result['weights']})"),
        ("data", f"{result['images']:,} {result['split']} images of {result['data']}"),
        ("feature maps", f"{maps:,} in {len(layers)} layers, the top {result['top']} of each"),
        ("dead feature maps", f"{sum(layer['dead'] for layer in layers.values()):,}"),
        ("projection", f"rule {result['rule']}, contrast normalisation {result['norm']}"),
    ]


def _read_result(path: Path) -> list[tuple[str, str]]:
    if not path.exists():
        return []
    result: dict[str, Any] = json.loads(path.read_text())
    if result.get("task") == "atlas":
        return _atlas_rows(result)
    if result.get("task") != "train" or "val/top1_error" not in result:
        return []
    rows = [
        ("network", f"{result['model']}, {result['parameters']:,} parameters"),
        ("ablation", ", ".join(result["ablation"])),
        ("data", f"{result['data']}, {result['classes']} classes"),
        ("trained", _trained(result)),
        ("best epoch", str(result["best_epoch"])),
        ("validation error", _errors(result, "val/top1_error", "val/top5_error")),
        ("test images", f"{result['test/images']:,.0f} of {result['test/images_in_split']:,}"),
        ("test error, one crop", _errors(result, "test/top1_error", "test/top5_error")),
        (
            "test error, ten crops",
            _errors(result, "test/top1_error_tencrop", "test/top5_error_tencrop"),
        ),
    ]
    paper = result.get("paper")
    if paper:
        rows.append(
            (
                f"the paper, {paper['table']}",
                f"{paper['row']}: validation error "
                f"{_errors(paper, 'val/top1_error', 'val/top5_error')} ({paper['note']})",
            )
        )
    return rows


def _trained(result: dict[str, Any]) -> str:
    seconds = result["train/seconds"]
    return f"{result['epochs']} epochs" + ("" if seconds is None else f" in {seconds:.0f} s")


def _errors(values: dict[str, float], top1: str, top5: str) -> str:
    return f"top-1 {values[top1]:.2f} %, top-5 {values[top5]:.2f} %"
