"""task=quiz: numbers, tables and a figure, and clear mistakes."""

import csv
from pathlib import Path

import pytest

from tests.conftest import Compose, check_result
from tests.runs import own_network
from zf_lightning.errors import UserError
from zf_lightning.tasks import quiz as task


@pytest.fixture
def asked(image_folder: Path, tmp_path: Path) -> list[str]:
    return [
        "task=quiz",
        *own_network(image_folder, tmp_path, maps=6),
        "quiz.images=10",
        "quiz.references=3",
        "quiz.trials=2",
    ]


def test_prints_writes_and_draws(
    compose_config: Compose, asked: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    result = task.run(compose_config(*asked, "quiz.maps=3"))
    folder = tmp_path / "run"
    check_result(folder, result)
    layer = result["layers"]["last"]
    assert 1 <= len(layer["feature_maps"]) <= 3
    with (folder / "quiz_last.csv").open(newline="") as file:
        rows = {row["references"]: float(row["right"]) for row in csv.DictReader(file)}
    assert rows["both"] == pytest.approx(layer["right"]["both"]["mean"], abs=1e-4)
    assert rows.keys() > {"patches", "projections", "projections, of another map"}
    added = layer["differences"]["both − patches"]["mean"]
    assert added == pytest.approx(rows["both"] - rows["patches"], abs=1e-3)
    assert (folder / "figures" / "last.png").exists() and "Quiz about" in caplog.text
    page = (folder / "report" / "index.html").read_text()
    assert "right, both" in page and 'href="quiz.html"' in page
    # Three maps of two questions at most, each with one kind of reference.
    pictures = {file.name for file in (folder / "report" / "quiz").iterdir()}
    questions = 2 * len(layer["feature_maps"])
    assert {name for name in pictures if "left" in name} == {
        f"{number:03}_left.webp" for number in range(1, questions + 1)
    }
    assert "001_patches.webp" in pictures and "001_projections.webp" not in pictures
    task.run(compose_config(*asked, "quiz.maps=1", "quiz.people=0"))
    assert 'href="quiz.html"' not in (folder / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["quiz.layers=conv9"], "no layer conv9"),
        (["quiz.trials=20"], "10 images are too few for 3 references and 20 trials"),
        (["quiz.encoder=resnet18"], "give both"),
        (["quiz.method=magic"], "magic"),
    ],
)
def test_mistakes(
    compose_config: Compose, asked: list[str], overrides: list[str], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        task.run(compose_config(*asked, *overrides))
