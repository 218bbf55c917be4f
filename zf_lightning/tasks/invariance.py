"""task=invariance: features of translated, scaled and rotated images (Fig. 5)."""

import itertools
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from zf_lightning.analysis import Invariance, ObservedNetwork, invariance, transformed
from zf_lightning.analysis.invariance import UNITS
from zf_lightning.errors import UserError
from zf_lightning.figures.invariance import InvarianceRow, invariance_figure
from zf_lightning.inspection.outcome import finish
from zf_lightning.inspection.subject import Pictures, Subject, load_pictures, load_subject

#: Transformed pictures drawn of each transformation.
EXAMPLES = 5


def run(config: DictConfig) -> dict[str, Any]:
    """Transform `images` over the configured values; write the figure and `result.json`."""
    options = config.invariance
    values = {
        name.replace("_", " "): spread(options[name], name)
        for name in ("vertical_translation", "scale", "rotation")
        if options[name] is not None
    }
    if not values:
        raise UserError("Every transformation of task=invariance is null: give at least one.")
    subject = load_subject(config)
    pictures = load_pictures(config, subject)
    predicted = subject.predicted(pictures.pixels)
    labels = [
        guess if label is None else label
        for label, guess in zip(pictures.labels, predicted, strict=True)
    ]
    found = invariance(
        ObservedNetwork(subject.network),
        pictures.pixels,
        labels,
        values,
        prepare=subject.prepare,
        layers=options.layers,
        grey=options.grey,
        batch_size=options.batch_size,
    )
    names = [subject.class_names[label] for label in labels]
    rows = [_row(subject, pictures, one, options.grey) for one in found]
    result = {
        "images": [
            {"image": name, "class": of_class, "class_is_known": label is not None}
            for name, of_class, label in zip(pictures.names, names, pictures.labels, strict=True)
        ],
        "layers": list(found[0].distances),
        "transformations": {one.transformation: _numbers(one) for one in found},
    }
    figures = {"invariance": invariance_figure(rows, names)}
    return finish(config, result, figures, [_line(one) for one in found])


def spread(values: DictConfig, name: str) -> list[float]:
    """The values from `first` to `last`, both included where the step leads there."""
    first, last, step = values.first, values.last, values.step
    if step <= 0 or last < first:
        raise UserError(f"invariance.{name}: first {first}, last {last} and step {step} give none.")
    count = int((last - first) / step + 1e-6) + 1
    return [round(first + number * step, 6) for number in range(count)]


def _row(subject: Subject, pictures: Pictures, found: Invariance, grey: float) -> InvarianceRow:
    places = np.linspace(0, len(found.values) - 1, EXAMPLES).round().astype(int)
    shown = [found.values[place] for place in places]
    examples = [
        transformed(picture[None], found.transformation, value, grey=grey)
        for picture, value in zip(itertools.cycle(pictures.pixels), shown, strict=False)
    ]
    return InvarianceRow(
        found.transformation,
        UNITS[found.transformation],
        found.values,
        {layer: found.relative_distances(layer).numpy() for layer in found.distances},
        found.probabilities.numpy(),
        subject.display(torch.cat(examples)).numpy(),
        shown,
    )


def _numbers(found: Invariance) -> dict[str, Any]:
    return {
        "unit": UNITS[found.transformation],
        "values": list(found.values),
        "distances": {layer: values.tolist() for layer, values in found.distances.items()},
        "norms": {layer: norms.tolist() for layer, norms in found.norms.items()},
        "probabilities": found.probabilities.tolist(),
    }


def _line(found: Invariance) -> str:
    means = ", ".join(
        f"{layer} {float(found.relative_distances(layer).mean()):.2f}" for layer in found.distances
    )
    return (
        f"{found.transformation} {found.values[0]:g} to {found.values[-1]:g} "
        f"{UNITS[found.transformation]}: mean relative distance {means}; mean probability of the "
        f"class {float(found.probabilities.mean()):.2f}"
    )
