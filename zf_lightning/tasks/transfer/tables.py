"""Tables and plots of the scores, the paper's values beside ours."""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zf_lightning import paper
from zf_lightning.analysis.transfer import Score
from zf_lightning.figures.transfer import Line
from zf_lightning.results.tables import Cell, Column, Table, Value

#: What `Score` has for a network that was trained on the fold.
FROM_SCRATCH, WHOLE_NETWORK = "from scratch", "network"

SPREAD = (
    "Mean over folds of the mean accuracy of the classes, in percent; ± is the standard deviation "
    "of single folds."
)
OTHER_NETWORK = (
    "The paper's values are of its own network, pretrained on ImageNet without the images that "
    "are also in this set."
)

Points = list[tuple[str | int, Value]]


@dataclass(frozen=True)
class Frozen:
    """The scores of a network's frozen layers."""

    model: str
    scores: list[Score]
    #: For each layer, the node of the graph at which it was read, and its number of features.
    places: dict[str, str]
    dimensions: dict[str, int]


@dataclass(frozen=True)
class Group:
    """The folds of one layer, classifier and number of training images."""

    layer: str
    classifier: str
    per_class: int | None
    scores: tuple[Score, ...]

    @property
    def accuracy(self) -> Value:
        """Mean over the folds, with the standard deviation of single folds.

        The paper does not say what its ± is; papers of its time give this one.
        """
        return Value.of([score.accuracy for score in self.scores])


def group(scores: Sequence[Score]) -> list[Group]:
    """The scores by what they have in common besides the fold: by layer, then classifier."""
    found: dict[tuple[str, str], dict[int | None, list[Score]]] = {}
    for score in scores:
        numbers = found.setdefault((score.layer, score.classifier), {})
        numbers.setdefault(score.per_class, []).append(score)
    return [
        Group(*key, per_class, tuple(several))
        for key, numbers in found.items()
        for per_class, several in numbers.items()
    ]


def build_tables(
    scores: Sequence[Score], reading: Frozen | None, *, data: str, class_names: Sequence[str]
) -> list[Table]:
    """Every accuracy; the paper's table of the data, if it has one; average precisions, if any."""
    groups = group(scores)
    tables = [_every_accuracy(groups, reading, data)]
    if data in paper.TABLES_4_AND_5:
        tables.append(_comparison(groups, reading, data))
    if any(score.average_precisions for score in scores):
        tables.append(_average_precisions(groups, data, class_names))
    return tables


def layer_number(layer: str) -> int | None:
    """The paper's number of a layer with the paper's name."""
    match = re.fullmatch(r"(?:conv|fc)(\d)", layer)
    return int(match[1]) if match else None


def _of_paper(group: Group, reading: Frozen | None, data: str) -> tuple[Value | None, str | None]:
    """The paper's value for a row of ours, and where it stands."""
    number = layer_number(group.layer)
    if number is not None and group.per_class == paper.TABLE_7_PER_CLASS.get(data, -1):
        found = paper.TABLE_7[data].get((group.classifier, number))
        if found is not None:
            name = {"svm": "SVM", "softmax": "softmax"}[group.classifier]
            return _value(found), f"Table 7, {name} ({number})"
    row = None
    if group.layer == FROM_SCRATCH:
        row = "non-pretrained convnet"
    elif group.classifier == "softmax" and group.layer == _last_layer(reading):
        row = "ImageNet-pretrained convnet"
    rows = paper.TABLES_4_AND_5.get(data, {})
    if row is None or group.per_class not in rows.get(row, {}):
        return None, None
    return _value(rows[row][group.per_class]), f"{paper.TRANSFER_TABLE[data]}, {row}"


def _value(accuracy: paper.Accuracy) -> Value:
    return Value(accuracy.mean, accuracy.spread)


def _last_layer(reading: Frozen | None) -> str | None:
    return None if reading is None else list(reading.places)[-1]


def _every_accuracy(groups: Sequence[Group], reading: Frozen | None, data: str) -> Table:
    dimensions = {} if reading is None else reading.dimensions
    rows: list[tuple[Cell, ...]] = [
        (
            one.layer,
            dimensions.get(one.layer),
            one.classifier,
            one.per_class,
            one.accuracy,
            len(one.scores),
            *_of_paper(one, reading, data),
        )
        for one in groups
    ]
    alone = all(row[-1] is None for row in rows)
    return Table(
        "accuracy",
        f"Accuracy on {data} by layer, classifier and training images of each class (Table 7)",
        (
            *("layer", "features", "classifier", "images a class", "accuracy", "folds"),
            *(Column(name, hidden=alone) for name in ("paper", "paper's row")),
        ),
        tuple(rows),
        (SPREAD,) if alone else (SPREAD, OTHER_NETWORK),
    )


def _comparison(groups: Sequence[Group], reading: Frozen | None, data: str) -> Table:
    """Tables 4 and 5 as the paper has them, with rows of ours."""
    lines = {
        f"paper: {row}": {number: _value(accuracy) for number, accuracy in values.items()}
        for row, values in paper.TABLES_4_AND_5[data].items()
    }
    for one in groups:
        if one.per_class is None or one.layer not in (FROM_SCRATCH, _last_layer(reading)):
            continue
        name = f"ours, pretrained, {one.classifier} on {one.layer}"
        if one.layer == FROM_SCRATCH:
            name = "ours, from scratch"
        lines.setdefault(name, {})[one.per_class] = one.accuracy
    numbers = sorted({number for values in lines.values() for number in values})
    table = paper.TRANSFER_TABLE[data]
    return Table(
        table.lower().replace(" ", "_"),
        f"{table}: accuracy on {data} by training images of each class",
        ("", *map(str, numbers)),
        tuple((name, *map(values.get, numbers)) for name, values in lines.items()),
        (SPREAD, OTHER_NETWORK),
    )


def _average_precisions(groups: Sequence[Group], data: str, class_names: Sequence[str]) -> Table:
    with_paper = data == "voc2012"
    found = {
        f"{one.classifier} on {one.layer}": one.scores[0].average_precisions
        for one in groups
        if one.scores[0].average_precisions is not None
    }
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            *(column[place] for column in found.values()),
            *(paper.TABLE_6.get(name, (None,) * 3) if with_paper else ()),
        )
        for place, name in enumerate(class_names)
    ]
    means = (
        statistics.fmean(known) if (known := [v for v in column if v is not None]) else None
        for column in found.values()
    )
    rows.append(("mean", *means, *(paper.TABLE_6_MEANS if with_paper else ())))
    paper_columns = ("Sande et al., 2012", "Yan et al., 2012", "paper") if with_paper else ()
    notes = ["Average precision in percent, the area under the falling precision (VOC since 2010)."]
    if with_paper:
        notes.append(
            "The paper trained on the train and val images and was scored on the test images, "
            "whose labels are not public."
        )
    return Table(
        "average_precision",
        f"Average precision on {data} (Table 6)",
        ("class", *found, *paper_columns),
        tuple(rows),
        tuple(notes),
    )


def plot_lines(
    scores: Sequence[Score], reading: Frozen | None, *, data: str
) -> tuple[list[Line], list[Line]]:
    """Lines of accuracy over the layers (Table 7), and over the training images (Fig. 9)."""
    groups = group(scores)
    layers = [] if reading is None else list(reading.places)
    most = max((one.per_class for one in groups if one.per_class is not None), default=None)
    suffix = "" if most is None else f", {most} images a class"
    by_layer: dict[str, Points] = {}
    by_images: dict[str, Points] = {}
    for one in groups:
        if one.layer in layers and one.per_class == most:
            points = by_layer.setdefault(f"{one.classifier}{suffix}", [])
            points.append((one.layer, one.accuracy))
        if one.layer in (FROM_SCRATCH, _last_layer(reading)) and one.per_class is not None:
            name = FROM_SCRATCH if one.layer == FROM_SCRATCH else f"{one.classifier} on {one.layer}"
            by_images.setdefault(name, []).append((one.per_class, one.accuracy))
    papers: dict[str, Points] = {}
    if most is not None and most == paper.TABLE_7_PER_CLASS.get(data):
        by_number = {layer_number(layer): layer for layer in layers}
        for (classifier, number), accuracy in paper.TABLE_7[data].items():
            if number in by_number:
                points = papers.setdefault(f"paper, {classifier}", [])
                points.append((by_number[number], _value(accuracy)))
    curves: dict[str, Points] = {
        f"paper: {row}": [(number, _value(values[number])) for number in sorted(values)]
        for row, values in paper.TABLES_4_AND_5.get(data, {}).items()
    }
    return (
        [*_lines(by_layer), *_lines(papers, published=True)],
        [*_lines(by_images), *_lines(curves, published=True)],
    )


def _lines(named: Mapping[str, Points], *, published: bool = False) -> list[Line]:
    return [
        Line(
            name,
            tuple(place for place, _ in points),
            tuple(value.mean for _, value in points),
            tuple(value.deviation for _, value in points),
            published=published,
        )
        for name, points in named.items()
    ]
