"""`report/quiz.html`: the questions of task=quiz for people, who save their answers as CSV.

A static page: it sends nothing anywhere. Names of pictures do not tell which query is right.
"""

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from zf_lightning.analysis.quiz import KINDS, Questions
from zf_lightning.figures.canvas import as_pixels, resized
from zf_lightning.figures.grid import HAIRLINE, tile_size
from zf_lightning.report.html import write_page
from zf_lightning.report.page import QUIZ

FOLDER = "quiz"
#: Height and width of a tile in pixels.
LARGEST_TILE = 144
#: References beside each other.
PER_ROW = 3


@dataclass(frozen=True)
class Trial:
    """One question to a person."""

    layer: str
    feature_map: int
    #: Of the feature map's questions.
    question: int
    #: What is shown as references: patches, projections, or both.
    kind: str
    #: Whether the query on the left is the one that excites the feature map.
    left: bool
    #: With which the names of its pictures begin.
    name: str


def choose_trials(
    asked: Mapping[str, tuple[Sequence[int], Sequence[Questions]]], number: int, *, seed: int
) -> list[Trial]:
    """At most `number` questions in random order, as many of each kind of reference.

    No question is asked twice: who has answered it with one kind knows it with another.

    Args:
        asked: by layer, feature maps and their questions.
    """
    generator = torch.Generator().manual_seed(seed)
    every = [
        (layer, feature_map, question)
        for layer, (maps, questions) in asked.items()
        for feature_map, of_map in zip(maps, questions, strict=True)
        for question in range(len(of_map.queries))
    ]
    order = torch.randperm(len(every), generator=generator).tolist()[:number]
    lefts = (torch.rand(len(order), generator=generator) < 0.5).tolist()
    trials = []
    for place, (chosen, left) in enumerate(zip(order, lefts, strict=True)):
        layer, feature_map, question = every[chosen]
        # The order is random already: one kind after another tells nothing.
        kind = KINDS[place % len(KINDS)]
        trials.append(Trial(layer, feature_map, question, kind, left, f"{place + 1:03}"))
    return trials


def write_quiz(
    folder: Path,
    trials: Sequence[Trial],
    asked: Mapping[str, tuple[Sequence[int], Sequence[Questions]]],
    right: Mapping[str, Mapping[str, float]],
) -> Path:
    """Write the page and its pictures into `report/` of a run; returns its path.

    Args:
        asked: see `choose_trials`.
        right: by layer and kind of reference, how often the machine was right.
    """
    report = folder / "report"
    (report / FOLDER).mkdir(parents=True)
    for trial in trials:
        maps, questions = asked[trial.layer]
        of_map = questions[list(maps).index(trial.feature_map)]
        for name, picture in _pictures(of_map, trial):
            picture.save(report / FOLDER / f"{trial.name}_{name}.webp", "webp", quality=85)
    return write_page(
        report / QUIZ,
        QUIZ,
        name=folder.resolve().name,
        trials=[asdict(trial) for trial in trials],
        right=right,
    )


def remove_quiz(folder: Path) -> None:
    """Remove the page and the pictures of an earlier quiz in the folder of a run."""
    (folder / "report" / QUIZ).unlink(missing_ok=True)
    shutil.rmtree(folder / "report" / FOLDER, ignore_errors=True)


def _pictures(asked: Questions, trial: Trial) -> Iterator[tuple[str, Image.Image]]:
    if trial.kind != "projections":
        yield "patches", _sheet(asked.patches)
    if trial.kind != "patches":
        yield "projections", _sheet(asked.projections)
    exciting, other = (_sheet(query[None]) for query in asked.queries[trial.question])
    yield "left", exciting if trial.left else other
    yield "right", other if trial.left else exciting


def _sheet(pictures: Tensor) -> Image.Image:
    """Pictures uint8 `[N, 3, h, w]` beside and below each other."""
    size = tile_size(*pictures.shape[-2:], largest=LARGEST_TILE)
    tiles = [resized(pixels, size) for pixels in as_pixels(pictures.numpy())]
    per_row = min(PER_ROW, len(tiles))
    height, width = (side + HAIRLINE for side in size)
    rows = math.ceil(len(tiles) / per_row)
    sheet = Image.new("RGBA", (per_row * width - HAIRLINE, rows * height - HAIRLINE))
    for place, tile in enumerate(tiles):
        sheet.paste(Image.fromarray(tile), (place % per_row * width, place // per_row * height))
    return sheet
