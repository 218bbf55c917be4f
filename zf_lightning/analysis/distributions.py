"""What an atlas says of all images, not only of the strongest: `distribution/LAYER/` of a run.

`maps.json` has each feature map's histogram, quantiles and best classes, `feature_maps.csv` a row
for each, `classes.safetensors` the scores of every map for every class; beside them are the tiles
of the examples at the quantiles.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zf_lightning.analysis.class_selectivity import ClassScores, layer_class_scores
from zf_lightning.atlas import Survey, TopImages
from zf_lightning.atlas.file import plain_json
from zf_lightning.results.tables import Cell, Column, Table
from zf_lightning.system.files import write_whole
from zf_lightning.system.sealed import write_json, write_tensors

#: Classes that are named of each feature map: those that it detects best.
BEST_CLASSES = 5


@dataclass(frozen=True)
class Detection:
    """How well a feature map's activation detects the images of a class (`ClassScores`)."""

    label: int
    average_precision: float
    #: The share of the images that are of the class: the precision of a map that tells nothing.
    share: float
    f1: float
    threshold: float


@dataclass(frozen=True)
class Example:
    """The image at a quantile of a feature map's activations."""

    quantile: float
    activation: float
    #: Of the dataset.
    index: int


@dataclass(frozen=True)
class MapDistribution:
    """The activations of a feature map, the strongest of each image, over all images."""

    feature_map: int
    images: int
    #: Share of the images that excite it.
    excited: float
    quantiles: tuple[Example, ...]
    #: Buckets: from, to, and how many images.
    histogram: tuple[tuple[float, float, int], ...]
    #: The classes that it detects best, best first; empty where no class is known.
    classes: tuple[Detection, ...]


def examples_at(survey: Survey, quantiles: Sequence[float]) -> dict[str, TopImages]:
    """Of each layer the images `[C, Q]` at the quantiles; none where nothing excites the map."""
    found = {}
    for layer, distribution in survey.distributions.items():
        examples = distribution.at_quantiles(quantiles)
        examples.indices = examples.indices.where(examples.activations > 0, -1)
        found[layer] = examples.cpu()
    return found


def scores_of_layers(
    survey: Survey, labels: NDArray[np.integer], classes: int
) -> dict[str, ClassScores]:
    """Each layer's scores by class; none where activations were not kept, or there is one class.

    Args:
        labels: of the images that were seen, in their order.
        classes: how many there are.
    """
    if survey.indices is None or classes < 2:
        return {}
    return {
        layer: layer_class_scores(values.cpu().numpy(), labels, classes)
        for layer, values in survey.values.items()
    }


def describe_layer(
    survey: Survey,
    layer: str,
    quantiles: Sequence[float],
    scores: ClassScores | None,
    shares: NDArray[np.floating],
) -> list[MapDistribution]:
    """Every feature map of a layer; `shares` `[K]` are the classes' of the images."""
    distribution = survey.distributions[layer]
    images, excited = distribution.images.tolist(), distribution.excited.tolist()
    examples = distribution.at_quantiles(quantiles)
    activations, indices = examples.activations.tolist(), examples.indices.tolist()
    return [
        MapDistribution(
            feature_map=number,
            images=images[number],
            excited=excited[number],
            quantiles=tuple(
                Example(*one)
                for one in zip(quantiles, activations[number], indices[number], strict=True)
                if one[2] >= 0
            ),
            histogram=tuple(distribution.histogram(number)),
            classes=() if scores is None else _best(scores, number, shares),
        )
        for number in range(len(images))
    ]


def _best(scores: ClassScores, number: int, shares: NDArray[np.floating]) -> tuple[Detection, ...]:
    average = scores.average_precision[number]
    order = np.argsort(-np.nan_to_num(average, nan=-1.0), kind="stable")
    return tuple(
        Detection(
            label=int(label),
            average_precision=float(average[label]),
            share=float(shares[label]),
            f1=float(scores.f1[number, label]),
            threshold=float(scores.threshold[number, label]),
        )
        for label in order[:BEST_CLASSES]
        if not np.isnan(average[label])
    )


def write_layer(
    folder: Path,
    layer: str,
    maps: Sequence[MapDistribution],
    quantiles: Sequence[float],
    scores: ClassScores | None,
    classes: Sequence[str],
) -> None:
    """Write a layer's files into `folder`."""
    content: dict[str, Any] = {"layer": layer, "classes": list(classes)}
    content["feature_maps"] = [plain_json(asdict(one)) for one in maps]
    write_json(folder / layer / "maps.json", content, indent=None)
    write_whole(
        folder / layer / "feature_maps.csv", layer_table(layer, maps, quantiles, classes).csv()
    )
    if scores is not None:
        tensors = {name: torch.from_numpy(value) for name, value in vars(scores).items()}
        write_tensors(
            folder / layer / "classes.safetensors", "class scores", tensors, {"classes": [*classes]}
        )


def layer_table(
    layer: str,
    maps: Sequence[MapDistribution],
    quantiles: Sequence[float],
    classes: Sequence[str],
) -> Table:
    """A row for each feature map, with the class that it detects best."""
    columns: tuple[str | Column, ...] = (
        "feature_map",
        "images",
        "excited",
        *(Column(f"quantile_{quantile}") for quantile in quantiles),
        "best_class",
        "average_precision",
        "share",
        "f1",
        "threshold",
    )
    rows: list[tuple[Cell, ...]] = []
    for one in maps:
        values = {example.quantile: example.activation for example in one.quantiles}
        at = [values.get(quantile) for quantile in quantiles]
        best: tuple[Cell, ...] = (None,) * 5
        for found in one.classes[:1]:
            scores = (found.average_precision, found.share, found.f1, found.threshold)
            best = (classes[found.label], *scores)
        rows.append((one.feature_map, one.images, one.excited, *at, *best))
    return Table("feature_maps", f"Feature maps of {layer} over all images", columns, tuple(rows))
