"""task=faithfulness: numbers, figures and tables, and clear mistakes."""

import csv
from pathlib import Path

import pytest

from tests.conftest import Compose, check_result
from tests.runs import own_network
from zf_lightning.errors import UserError
from zf_lightning.tasks import faithfulness as task


@pytest.fixture
def asked(image_folder: Path, tmp_path: Path) -> list[str]:
    return [
        "task=faithfulness",
        *own_network(image_folder, tmp_path, maps=6),
        "faithfulness.images=10",
        "faithfulness.maps=3",
        "faithfulness.pairs=2",
        "faithfulness.contrast=2",
    ]


def test_prints_writes_and_draws(
    compose_config: Compose, asked: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    config = compose_config(*asked, "faithfulness.methods=[deconvnet,gradient]")
    result = task.run(config)
    folder = tmp_path / "run"
    check_result(folder, result)
    layer = result["layers"]["last"]
    assert len(layer["feature_maps"]) == 3 and layer["specificity"].keys() == {
        "deconvnet",
        "gradient",
    }
    assert layer["faithfulness"]["centred blob"]["squares"]["mean"] == 0.5
    with (folder / "faithfulness_last.csv").open(newline="") as file:
        rows = {row["pixels ranked by"]: row for row in csv.DictReader(file)}
    assert float(rows["deconvnet"]["area"]) == pytest.approx(
        layer["faithfulness"]["deconvnet"]["area"]["mean"], abs=1e-3
    )
    # Differences of means are means of differences, where no unit is left out.
    difference = layer["differences"]["deconvnet, contrastive − deconvnet"]["area"]["mean"]
    means = [
        layer["faithfulness"][name]["area"]["mean"]
        for name in ("deconvnet, contrastive", "deconvnet")
    ]
    assert difference == pytest.approx(means[0] - means[1], abs=1e-6)
    assert (folder / "differences_last.md").exists()
    expected = {"deconvnet, contrastive", "gradient, mean of other units", "gradient × image"}
    assert expected | {"chance"} < rows.keys()
    assert {path.name for path in (folder / "figures").iterdir()} == {"last.png", "last tests.png"}
    assert "Faithfulness of 3 units of last" in caplog.text and "unexplained" in caplog.text
    assert "faithfulness, 3 units of last" in (folder / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("faithfulness.layers=conv9", "no layer conv9"),
        ("faithfulness.methods=[]", "it must be deconvnet, guided, gradient or a list"),
        ("faithfulness.methods=[magic]", "magic"),
        ("faithfulness.maps=0", "a whole number of at least 1"),
        ("faithfulness.split=all", "must be train, val or test"),
        ("faithfulness.grey=300", "a number from 0 to 255"),
    ],
)
def test_mistakes(compose_config: Compose, asked: list[str], override: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        task.run(compose_config(*asked, override))
