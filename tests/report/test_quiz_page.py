"""The questions of task=quiz for people, in a real browser, opened from the disk."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.report.browser import launched, needs_chromium
from zf_lightning.analysis.quiz import KINDS, Questions
from zf_lightning.report.quiz_page import Trial, choose_trials, remove_quiz, write_quiz

LAYER = "a <b>layer</b>"
EXCITING, OTHER = 200, 50


def questions(trials: int) -> Questions:
    queries = torch.full((trials, 2, 3, 16, 16), OTHER, dtype=torch.uint8)
    queries[:, 0] = EXCITING
    references = torch.full((5, 3, 16, 16), 90, dtype=torch.uint8)
    return Questions(references, references + 20, queries)


ASKED = {LAYER: ([3, 7], [questions(4), questions(2)])}
RIGHT = {LAYER: dict(zip(KINDS, (0.75, 0.5, 1.0), strict=True))}


@pytest.fixture
def trials() -> list[Trial]:
    return choose_trials(ASKED, 60, seed=0)


def test_each_question_is_asked_once_with_each_kind_as_often(trials: list[Trial]) -> None:
    every = {(LAYER, 3, n) for n in range(4)} | {(LAYER, 7, n) for n in range(2)}
    assert {(one.layer, one.feature_map, one.question) for one in trials} == every
    assert len(trials) == 6 and [one.kind for one in trials] == [*KINDS, *KINDS]
    assert {one.left for one in trials} == {True, False}
    assert choose_trials(ASKED, 60, seed=0) == trials != choose_trials(ASKED, 60, seed=1)
    assert len(choose_trials(ASKED, 4, seed=0)) == 4


def test_the_exciting_query_is_on_its_side(trials: list[Trial], tmp_path: Path) -> None:
    write_quiz(tmp_path, trials, ASKED, RIGHT)
    pictures = tmp_path / "report" / "quiz"
    for trial in trials:
        for side in ("left", "right"):
            with Image.open(pictures / f"{trial.name}_{side}.webp") as picture:
                grey = float(np.asarray(picture.convert("L")).mean())
            exciting = trial.left == (side == "left")
            assert grey == pytest.approx(EXCITING if exciting else OTHER, abs=3)
        kinds = {file.stem.split("_")[1] for file in pictures.glob(f"{trial.name}_p*")}
        assert kinds == ({"patches", "projections"} if trial.kind == "both" else {trial.kind})
    remove_quiz(tmp_path)
    assert not list((tmp_path / "report").iterdir())


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as browser:
        yield browser


@needs_chromium
def test_answers_are_scored_kept_and_saved(
    trials: list[Trial], tmp_path: Path, browser: Any
) -> None:
    from playwright.sync_api import expect

    page = write_quiz(tmp_path, trials, ASKED, RIGHT)
    tab = browser.new_context(viewport={"width": 400, "height": 850}).new_page()
    told: list[str] = []
    tab.on("console", lambda message: told.append(message.text))
    tab.on("pageerror", lambda problem: told.append(str(problem)))
    tab.goto(page.as_uri())
    count = tab.locator("#count")
    expect(count).to_have_text("Question 1 of 6")
    expect(tab.locator("#save")).to_be_disabled()
    for number, trial in enumerate(trials[:3]):
        expect(count).to_have_text(f"Question {number + 1} of 6")
        both = trial.kind == "both"
        expect(tab.locator("#references img")).to_have_count(2 if both else 1)
        tab.keyboard.press("ArrowLeft" if trial.left else "ArrowRight")
    # What was answered is kept.
    tab.reload()
    expect(count).to_have_text("Question 4 of 6")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    for number, trial in enumerate(trials[3:]):
        expect(count).to_have_text(f"Question {number + 4} of 6")
        # The wrong one.
        tab.locator(f"button[data-side={'right' if trial.left else 'left'}]").click()
    score = tab.locator("#score tr")
    expect(score).to_have_count(4)
    expect(score.nth(1)).to_have_text(f"{LAYER}, patches0.50 of 20.75")
    with tab.expect_download() as saved:
        tab.locator("#save").click()
    rows = list(csv.DictReader(io.StringIO(Path(saved.value.path()).read_text())))
    assert [row["right"] for row in rows] == ["1"] * 3 + ["0"] * 3
    for row, trial in zip(rows, trials, strict=True):
        assert row["layer"] == LAYER and int(row["feature_map"]) == trial.feature_map
        assert row["references"] == trial.kind and float(row["seconds"]) >= 0
        assert row["exciting_side"] == ("left" if trial.left else "right")
    tab.locator("#again").click()
    expect(count).to_have_text("Question 1 of 6")
    assert not told
