"""Scores as the paper's tables, with its figures beside ours."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from zf_lightning import paper
from zf_lightning.analysis.transfer import Score, mean_and_spread
from zf_lightning.figures.transfer import Line
from zf_lightning.results.tables import Cell, Table

#: What `Score` has for a network that was trained on the fold.
FROM_SCRATCH, WHOLE_NETWORK = "from scratch", "network"

SPREAD = (
    "Mean over folds of the mean accuracy of the classes, in percent; ± is the standard deviation "
    "of single folds."
)
OTHER_NETWORK = (
    "The paper's figures are of its own network, pretrained on ImageNet without the images that "
    "are also in this set."
)


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
    def accuracy(self) -> paper.Accuracy:
        """Mean and spread over the folds."""
        return paper.Accuracy(*mean_and_spread([score.accuracy for score in self.scores]))


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


def _of_paper(group: Group, reading: Frozen | None, data: str) -> tuple[paper.Accuracy, str] | None:
    """The paper's figure for a row of ours, and where it stands."""
    rows = paper.TABLES_4_AND_5.get(data)
    if rows is None or group.per_class is None:
        return None
    table = paper.TRANSFER_TABLE[data]
    if group.layer == FROM_SCRATCH:
        row = "non-pretrained convnet"
        found = rows[row].get(group.per_class)
        return None if found is None else (found, f"{table}, {row}")
    number = layer_number(group.layer)
    if number is not None and group.per_class == paper.TABLE_7_PER_CLASS[data]:
        found = paper.TABLE_7[data].get((group.classifier, number))
        if found is not None:
            name = {"svm": "SVM", "softmax": "softmax"}[group.classifier]
            return found, f"Table 7, {name} ({number})"
    if group.classifier == "softmax" and group.layer == _last_layer(reading):
        row = "ImageNet-pretrained convnet"
        found = rows[row].get(group.per_class)
        return None if found is None else (found, f"{table}, {row}")
    return None


def _last_layer(reading: Frozen | None) -> str | None:
    return None if reading is None else list(reading.places)[-1]


def _every_accuracy(groups: Sequence[Group], reading: Frozen | None, data: str) -> Table:
    rows: list[tuple[Cell, ...]] = []
    compared = False
    for one in groups:
        ours = one.accuracy
        theirs = _of_paper(one, reading, data)
        compared = compared or theirs is not None
        dimensions = None if reading is None else reading.dimensions.get(one.layer)
        rows.append(
            (
                one.layer,
                dimensions,
                one.classifier,
                one.per_class,
                ours.mean,
                ours.spread,
                len(one.scores),
                theirs[0].mean if theirs else None,
                theirs[0].spread if theirs else None,
                theirs[1] if theirs else None,
            )
        )
    return Table(
        "accuracy",
        f"Accuracy on {data} by layer, classifier and training images of each class (Table 7)",
        (
            "layer",
            "features",
            "classifier",
            "images a class",
            "accuracy",
            "±",
            "folds",
            "paper",
            "paper ±",
            "paper's row",
        ),
        tuple(rows),
        (SPREAD, *([OTHER_NETWORK] if compared else [])),
    )


def _comparison(groups: Sequence[Group], reading: Frozen | None, data: str) -> Table:
    """Tables 4 and 5 as the paper has them, with rows of ours."""
    published = paper.TABLES_4_AND_5[data]
    numbers = sorted(
        {one.per_class for one in groups if one.per_class is not None}
        | {number for row in published.values() for number in row}
    )
    ours: dict[str, dict[int, paper.Accuracy]] = {}
    for one in groups:
        if one.per_class is None:
            continue
        if one.layer == FROM_SCRATCH:
            ours.setdefault("ours, from scratch", {})[one.per_class] = one.accuracy
        elif one.layer == _last_layer(reading):
            name = f"ours, pretrained, {one.classifier} on {one.layer}"
            ours.setdefault(name, {})[one.per_class] = one.accuracy
    rows: list[tuple[Cell, ...]] = []
    for who, lines in (("paper", published), ("", ours)):
        for row, values in lines.items():
            cells: list[Cell] = [f"{who}: {row}" if who else row]
            for number in numbers:
                value = values.get(number)
                cells += [value.mean, value.spread] if value else [None, None]
            rows.append(tuple(cells))
    table = paper.TRANSFER_TABLE[data]
    return Table(
        table.lower().replace(" ", "_"),
        f"{table}: accuracy on {data} by training images of each class",
        ("", *(name for n in numbers for name in (f"{n}", f"{n} ±"))),
        tuple(rows),
        (SPREAD, OTHER_NETWORK),
    )


def _average_precisions(groups: Sequence[Group], data: str, class_names: Sequence[str]) -> Table:
    with_paper = data == "voc2012"
    scored = [one for one in groups if one.scores[0].average_precisions is not None]
    rows: list[tuple[Cell, ...]] = []
    columns: list[list[float | None]] = []
    for one in scored:
        assert one.scores[0].average_precisions is not None
        columns.append(list(one.scores[0].average_precisions))
    for place, name in enumerate(class_names):
        theirs = paper.TABLE_6.get(name) if with_paper else None
        cells: list[Cell] = [name, *(column[place] for column in columns)]
        rows.append((*cells, *(theirs or (None,) * 3)) if with_paper else tuple(cells))
    means: list[Cell] = ["mean"]
    for column in columns:
        known = [value for value in column if value is not None]
        means.append(sum(known) / len(known) if known else None)
    rows.append((*means, *paper.TABLE_6_MEANS) if with_paper else tuple(means))
    paper_columns = ("Sande et al., 2012", "Yan et al., 2012", "paper") if with_paper else ()
    names = [f"{one.classifier} on {one.layer}" for one in scored]
    notes = ["Average precision in percent, the area under the falling precision (VOC since 2010)."]
    if with_paper:
        notes.append(
            "The paper trained on the train and val images and was scored on the test images, "
            "whose labels are not public."
        )
    return Table(
        "average_precision",
        f"Average precision on {data} (Table 6)",
        ("class", *names, *paper_columns),
        tuple(rows),
        tuple(notes),
    )


def plot_lines(
    scores: Sequence[Score], reading: Frozen | None, *, data: str
) -> tuple[list[Line], list[Line]]:
    """What is plotted: accuracy over the layers (Table 7), and over training images (Fig. 9)."""
    groups = group(scores)
    layers: list[str] = list(reading.places) if reading is not None else []
    numbers = sorted({one.per_class for one in groups if one.per_class is not None})
    by_layer = []
    most = numbers[-1] if numbers else None
    for classifier in dict.fromkeys(one.classifier for one in groups):
        chosen = [
            one
            for one in groups
            if one.classifier == classifier and one.layer in layers and one.per_class == most
        ]
        if chosen:
            suffix = "" if most is None else f", {most} images a class"
            by_layer.append(_line(f"{classifier}{suffix}", [(o.layer, o.accuracy) for o in chosen]))
    if most is not None and most == paper.TABLE_7_PER_CLASS.get(data):
        by_number = {layer_number(layer): layer for layer in layers}
        for classifier in ("svm", "softmax"):
            points = [
                (by_number[number], accuracy)
                for (name, number), accuracy in paper.TABLE_7[data].items()
                if name == classifier and number in by_number
            ]
            if points:
                by_layer.append(_line(f"paper, {classifier}", points, published=True))
    by_images = []
    for one in dict.fromkeys((one.layer, one.classifier) for one in groups):
        layer, classifier = one
        if layer in (FROM_SCRATCH, _last_layer(reading)):
            name = FROM_SCRATCH if layer == FROM_SCRATCH else f"{classifier} on {layer}"
            points_of = [
                (o.per_class, o.accuracy)
                for o in groups
                if (o.layer, o.classifier) == one and o.per_class is not None
            ]
            if points_of:
                by_images.append(_line(name, points_of))
    for row, values in paper.TABLES_4_AND_5.get(data, {}).items():
        by_images.append(_line(f"paper: {row}", sorted(values.items()), published=True))
    return by_layer, by_images


def _line(
    name: str,
    points: Sequence[tuple[str | int, paper.Accuracy]],
    *,
    published: bool = False,
) -> Line:
    return Line(
        name,
        tuple(place for place, _ in points),
        tuple(value.mean for _, value in points),
        tuple(value.spread for _, value in points),
        published=published,
    )
