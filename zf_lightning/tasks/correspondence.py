"""task=correspondence: the same part hidden in several images (Fig. 8 and Table 1)."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from zf_lightning import paper
from zf_lightning.analysis import Correspondence, ObservedNetwork, below_random, correspondence
from zf_lightning.analysis.squares import hide
from zf_lightning.data.crops import corner_offsets
from zf_lightning.data.decode import STORED_SIZE, load_image
from zf_lightning.data.landmarks import read_landmarks
from zf_lightning.errors import UserError
from zf_lightning.figures.correspondence import correspondence_figure
from zf_lightning.inspection.outcome import finish
from zf_lightning.inspection.subject import Subject, load_subject, square_size
from zf_lightning.results.tables import Cell, Table, Value

log = logging.getLogger(__name__)


def run(config: DictConfig) -> dict[str, Any]:
    """Table 1 for the parts of `landmarks`; write the figure and `result.json`."""
    options = config.correspondence
    if config.landmarks is None:
        raise UserError(
            "task=correspondence needs landmarks=FILE.csv with the columns file, and NAME_x and "
            "NAME_y for each part, or the embedded dataset's parts.json and images=FOLDER."
        )
    table = Path(config.landmarks).expanduser()
    folder = table.parent if config.images is None else Path(str(config.images)).expanduser()
    subject = load_subject(config)
    landmarks = read_landmarks(table, folder, options.parts)
    parts = {part: in_input(places, subject.input_size) for part, places in landmarks.parts.items()}
    seen = torch.stack(
        [((places >= 0) & (places < subject.input_size)).all(1) for places in parts.values()]
    ).all(0)
    files = [file for file, whole in zip(landmarks.files, seen, strict=True) if whole]
    if len(files) < len(seen):
        log.warning(
            f"{len(seen) - len(files)} of {len(seen)} images are left out: a part lies outside "
            "what the network sees of them."
        )
    if not files:
        raise UserError("No image is left: the network takes the middle of each.")
    pixels = torch.stack([load_image(file) for file in files])
    parts = {part: places[seen] for part, places in parts.items()}
    observed = ObservedNetwork(subject.network)
    found = correspondence(
        observed,
        subject.prepare(pixels),
        parts,
        layers=options.layers,
        size=square_size(options.size, subject),
        fill=subject.grey(options.grey),
        draws=options.draws,
        seed=config.seed,
        rectified=options.rectified,
        changed_only=options.changed_only,
        batch_size=options.batch_size,
    )
    rows = _rows(found)
    result = {
        "images": len(pixels),
        "mask_pixels": found.size,
        "input_size_pixels": subject.input_size,
        "random_draws": options.draws,
        "rectified": options.rectified,
        "changed_only": options.changed_only,
        "layers": rows,
        "paper": {"table": "Table 1", "layers": paper.TABLE_1},
    }
    figure = _figure(subject, pixels, found, rows, options.grey)
    return finish(config, result, {"correspondence": figure}, _lines(rows))


def in_input(places: Tensor, input_size: int) -> Tensor:
    """Places `[N, 2]` of the stored 256×256 picture in the network's input, its centre crop."""
    base = round(input_size * 8 / 7)
    top, left = corner_offsets(base, input_size)[-1]
    return places * base / STORED_SIZE - torch.tensor([top, left])


def _rows(found: Correspondence) -> dict[str, dict[str, dict[str, Any]]]:
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for layer, parts in found.parts.items():
        random = found.random[layer]
        rows[layer] = {
            part: {"delta": one.delta, "spread": one.spread}
            for part, one in (*parts.items(), ("random", random))
        }
        for part, one in parts.items():
            below, *ends = below_random(one, random)
            rows[layer][part] |= {"below_random": below, "below_random_95_percent": ends}
        rows[layer]["random"]["delta_of_draws"] = random.of_draws
    return rows


def _figure(
    subject: Subject,
    pixels: Tensor,
    found: Correspondence,
    rows: dict[str, dict[str, dict[str, Any]]],
    grey: float,
) -> Any:
    display = subject.display(pixels)
    starts = {**found.starts, "random": found.random_starts}
    masked = {
        part: hide(display, places, found.size, grey).numpy() for part, places in starts.items()
    }
    values = {
        layer: {part: (row["delta"], row["spread"]) for part, row in of_layer.items()}
        for layer, of_layer in rows.items()
    }
    return correspondence_figure(display.numpy(), masked, values)


def _lines(rows: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    parts = list(next(iter(rows.values())))
    deltas = {p: [Value(row[p]["delta"], row[p]["spread"]) for row in rows.values()] for p in parts}
    below = {
        part: [
            "{:+.3f} [{:+.3f}, {:+.3f}]".format(
                row[part]["below_random"], *row[part]["below_random_95_percent"]
            )
            for row in rows.values()
        ]
        for part in parts
        if part != "random"
    }
    return [
        line
        for title, cells in (
            ("Mean feature sign change, ± standard deviation over pairs of images:", deltas),
            ("Below random places, with 95 % confidence intervals over images:", below),
        )
        for line in (title, *_table(title, list(rows), cells).lines())
    ]


def _table(title: str, layers: list[str], cells: Mapping[str, Sequence[Cell]]) -> Table:
    rows = tuple((part, *of_part) for part, of_part in cells.items())
    return Table("correspondence", title, ("hidden", *layers), rows, decimals=3)
