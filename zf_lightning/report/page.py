"""`report/index.html`: the result, the curves, and the pictures of a run."""

import re
from pathlib import Path
from typing import Any

from zf_lightning.report.curves import BOX, read_curves
from zf_lightning.report.html import write_page
from zf_lightning.results import metric_names as names
from zf_lightning.results.result import counted, shown_errors
from zf_lightning.system.sealed import read_json

SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}
#: Tasks with a picture for each layer; those of a training have epochs.
WITH_LAYERS = ("train", "atlas")
#: Files of a run that its page links.
FILES = ("result.json", "config.yaml", "provenance.json", "run.log", "metrics.csv")
#: A page of its own beside it.
QUIZ = "quiz.html"
PICTURE = re.compile(r"(?:epoch=(\d+)_)?(.+)\.(?:png|webp)")


def write_report(folder: Path) -> Path:
    """Write the page of a run from what is in its folder by now; returns its path.

    It may be called after each epoch, and again when the result is there.
    """
    path = folder / "result.json"
    result = read_json(path) if path.exists() else {}
    pictures = find_pictures(folder / "figures")
    layered = result.get("task", "train") in WITH_LAYERS
    return write_page(
        folder / "report" / "index.html",
        "run.html",
        name=folder.resolve().name,
        result=_rows(result),
        curves=read_curves(folder / "metrics.csv"),
        box=BOX,
        # Those of a whole task stand one below the other.
        figures=[] if layered else [file for one in pictures.values() for file in one.values()],
        pictures=pictures if layered else {},
        epochs=sorted({epoch for of_layer in pictures.values() for epoch in of_layer if epoch}),
        wall=(folder / "report" / "maps.js").exists(),
        quiz=QUIZ if (folder / "report" / QUIZ).exists() else None,
        files=[file for file in FILES if (folder / file).exists()],
    )


def find_pictures(folder: Path) -> dict[str, dict[int, str]]:
    """By layer or name, in order: the file of each epoch, of epoch 0 outside training."""
    found: dict[str, dict[int, str]] = {}
    for file in sorted(folder.glob("*")):
        match = PICTURE.fullmatch(file.name)
        if match:
            found.setdefault(match[2], {})[int(match[1] or 0)] = file.name
    return {name: found[name] for name in sorted(found, key=_natural)}


def images_of(split: str | None) -> str:
    """`validation images`, or `images` where data have no splits."""
    return "images" if split is None else f"{SPLIT_NAMES[split]} images"


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    if result.get("task") == "atlas":
        return _atlas_rows(result)
    if result.get("task") == "train":
        return _training_rows(result) if names.VAL_TOP1 in result else []
    rows = [
        (key.replace("_", " "), f"{value:,}" if isinstance(value, int) else _short_path(str(value)))
        for key, value in result.items()
        if isinstance(value, str | int | float)
    ]
    if result.get("task") == "faithfulness":
        rows += _faithfulness_rows(result)
    if result.get("task") == "quiz":
        rows += [
            (f"{layer}, {len(found['feature_maps'])} maps: right, {name}", _interval(interval))
            for layer, found in result["layers"].items()
            for name, interval in found["right"].items()
        ]
    if result.get("task") == "knockout":
        rows += [
            (
                f"{layer}, mean over {counted(len(found['feature_maps']), 'map')}: {name}",
                _interval(of, decimals=3),
            )
            for layer, found in result["layers"].items()
            for name, of in found["summary"].items()
        ]
    return rows


def _short_path(text: str) -> str:
    """A checkpoint or a folder without where it lies on the machine: a page is handed on."""
    path = Path(text)
    if not path.is_absolute():
        return text
    return "/".join(path.parts[-3:] if path.suffix == ".ckpt" else path.parts[-1:])


def _atlas_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    layers: dict[str, dict[str, int]] = result["layers"]
    maps = sum(layer["feature_maps"] for layer in layers.values())
    return [
        ("network", f"{result['model']} ({_short_path(result['weights'])})"),
        ("data", f"{result['data']}: {result['images']:,} {images_of(result['split'])}"),
        (
            "feature maps",
            f"{maps:,} in {counted(len(layers), 'layer')}, the top {result['top']} of each",
        ),
        ("dead feature maps", f"{sum(layer['dead'] for layer in layers.values()):,}"),
        ("projection", f"{result['rule']}, contrast normalisation {result['norm']}"),
    ]


def _faithfulness_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Of the first method that was asked for, beside what it has to beat."""
    rows = []
    for layer, found in result["layers"].items():
        method, specificity = next(iter(found["specificity"].items()))
        tests = found["faithfulness"]
        told = ", ".join(
            f"{name} {_interval(tests[name]['squares'])}"
            for name in (method, f"{method}, of another map", f"{method}, mean of other units")
            if name in tests
        )
        rows += [
            (f"faithfulness, {counted(len(found['feature_maps']), 'unit')} of {layer}", told),
            (
                f"specificity of {method}",
                f"cosine with other maps {_interval(specificity['cosine'])}, contrastive "
                f"{_interval(specificity['cosine_contrastive'])}; unexplained by the "
                f"{result['contrast']} strongest {_interval(specificity['unexplained'])}",
            ),
        ]
    return rows


def _interval(found: dict[str, float | None], decimals: int = 2) -> str:
    mean, low, high = (
        "–" if number is None else f"{number:.{decimals}f}" for number in found.values()
    )
    return f"{mean} [{low}, {high}]"


def _training_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    seconds = result[names.SECONDS]
    took = "" if seconds is None else f" in {seconds:.0f} s"
    rows = [
        ("network", f"{result['model']}, {result['parameters']:,} parameters"),
        ("ablation", ", ".join(result["ablation"])),
        ("data", f"{result['data']}, {result['classes']} classes"),
        ("trained", counted(result["epochs"], "epoch") + took),
        ("best epoch", str(result["best_epoch"])),
        ("validation error", shown_errors(result, "val")),
        (
            "test images",
            f"{result[names.TEST_IMAGES]:,.0f} of {result[names.TEST_IMAGES_IN_SPLIT]:,}",
        ),
        ("test error, one crop", shown_errors(result, "test")),
        ("test error, ten crops", shown_errors(result, "test", names.TENCROP)),
    ]
    if result.get("confused"):
        taken = (f"{one['class']} for {one['as']} ({one['images']})" for one in result["confused"])
        rows.append(("most often mistaken", ", ".join(taken)))
    paper = result.get("paper")
    if paper:
        errors = f"{paper['row']}: validation error {shown_errors(paper, 'val')}"
        rows.append((f"the paper, {paper['table']}", f"{errors} ({paper['note']})"))
    return rows
