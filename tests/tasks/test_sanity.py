"""task=sanity: tables of similarities, and clear mistakes."""

import csv
from pathlib import Path

import pytest
import torch

from tests.conftest import Compose, check_result
from tests.runs import own_network
from zf_lightning.errors import UserError
from zf_lightning.tasks import sanity as task
from zf_lightning.tasks import train


@pytest.fixture
def asked(image_folder: Path, tmp_path: Path) -> list[str]:
    return [
        "task=sanity",
        *own_network(image_folder, tmp_path),
        "sanity.images=10",
        "sanity.units=3",
    ]


def test_prints_and_writes_a_table_for_each_rule(
    compose_config: Compose, asked: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    result = task.run(compose_config(*asked, "sanity.methods=[deconvnet,gradient]"))
    folder = tmp_path / "run"
    check_result(folder, result)
    assert result["layer"] == "last" and result["images"] == 10
    assert list(result["rules"]) == ["deconvnet", "gradient"]
    layers = result["rules"]["deconvnet"]["layers"]
    assert [one["layer"] for one in layers] == ["last", "block", "stem"]
    assert layers[0]["cascading"] == layers[0]["independent"]
    assert -1 <= layers[-1]["cascading"]["signed"] < 1
    with (folder / "sanity_deconvnet.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["randomised"] for row in rows] == ["last", "block", "stem", task.OTHER_MAPS]
    assert float(rows[2]["absolute, alone"]) == pytest.approx(
        layers[2]["independent"]["absolute"], abs=1e-3
    )
    assert "Adebayo" in (folder / "sanity_gradient.md").read_text()
    (figure,) = (folder / "figures").iterdir()
    assert figure.name in (folder / "report" / "index.html").read_text()
    assert "Nie et al." in caplog.text and "SSIM, alone" in caplog.text


def test_of_a_run_of_training(compose_config: Compose, tiny: list[str], tmp_path: Path) -> None:
    train.run(compose_config(*tiny, "trainer.max_epochs=1", "callbacks.probe=null"))
    run = tmp_path / "trained"
    (tmp_path / "run").rename(run)
    options = [
        "sanity.layer=conv3",
        "sanity.methods=guided",
        "sanity.units=2",
        "sanity.norm=jacobian",
    ]
    result = task.run(compose_config("task=sanity", f"ckpt={run}", "data.workers=0", *options))
    assert result["data"] == "folder" and result["images"] == 6
    layers = result["rules"]["guided"]["layers"]
    assert [one["layer"] for one in layers] == ["conv3", "conv2", "conv1"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sanity.layer=conv9", "no layer conv9"),
        ("sanity.methods=[]", "sanity.methods=.* is not possible"),
        ("sanity.methods=[magic]", "each deconvnet, guided or gradient"),
        ("sanity.units=0", "a whole number of at least 1"),
        ("sanity.split=all", "must be train, val or test"),
        ("model.weights=null", "needs a trained network"),
        ("trainer.accelerator=gpu", "but this machine has no such GPU"),
    ],
)
def test_mistakes(
    override: str,
    words: str,
    compose_config: Compose,
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=words):
        task.run(compose_config(*asked, override))
