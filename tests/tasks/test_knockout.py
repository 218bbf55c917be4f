"""task=knockout: numbers, a table and pictures, and clear mistakes."""

import csv
from pathlib import Path

import pytest

from tests.conftest import Compose, check_result
from tests.runs import own_network
from zf_lightning.errors import UserError
from zf_lightning.tasks import knockout as task


@pytest.fixture
def asked(image_folder: Path, tmp_path: Path) -> list[str]:
    return [
        "task=knockout",
        *own_network(image_folder, tmp_path, maps=6),
        "knockout.images=10",
        "knockout.top=3",
        "data.batch_size=4",
    ]


def test_prints_writes_and_draws(
    compose_config: Compose, asked: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    result = task.run(compose_config(*asked, "knockout.maps=4"))
    folder = tmp_path / "run"
    check_result(folder, result)
    layer = result["layers"]["last"]
    assert len(layer["feature_maps"]) == 4 and layer["fall"].keys() == {"zero", "mean", "resample"}
    with (folder / "knockout_last.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    falls = [float(row["zero_mean"]) for row in rows]
    assert falls == sorted(falls, reverse=True)
    assert sum(falls) / 4 == pytest.approx(layer["summary"]["fall, set to 0"]["mean"], abs=1e-3)
    assert {path.name for path in (folder / "figures").iterdir()} == {
        "last.png",
        "last effects.png",
    }
    assert "4 feature maps of last, each replaced" in caplog.text
    page = (folder / "report" / "index.html").read_text()
    assert "last, mean over 4 maps: fall, set to 0" in page


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("knockout.layers=conv9", "no layer conv9"),
        ("knockout.maps=[70]", "no map 70"),
        ("knockout.replace=[noise]", "noise"),
        ("knockout.images=1", "a whole number of at least 2"),
    ],
)
def test_mistakes(compose_config: Compose, asked: list[str], override: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        task.run(compose_config(*asked, override))
