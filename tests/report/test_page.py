"""The page of a run, as it is written."""

import json
from pathlib import Path

import pytest
from PIL import Image

from zf_lightning.report.curves import MOST_POINTS, read_curves
from zf_lightning.report.page import find_pictures, write_report

METRICS = """epoch,step,train/loss,train/learning_rate,val/top1_error,val/loss
1,9,2.5,0.01,,
1,11,,,80.0,2.2
2,19,2.0,0.02,,
2,23,,,60.0,1.9
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "figures").mkdir()
    for epoch in (2, 10):
        for layer in ("conv2", "conv10"):
            picture = Image.new("RGB", (64, 48), (epoch * 10, 90, 90))
            picture.save(tmp_path / "figures" / f"epoch={epoch:03}_{layer}.png")
    (tmp_path / "metrics.csv").write_text(METRICS)
    return tmp_path


def test_pictures_are_found_in_order(folder: Path) -> None:
    Image.new("RGB", (64, 48)).save(folder / "figures" / "epoch=011_conv2.webp")
    found = find_pictures(folder / "figures")
    assert list(found) == ["conv2", "conv10"] and list(found["conv10"]) == [2, 10]
    assert found["conv2"][11] == "epoch=011_conv2.webp"


def test_a_run_without_a_result_has_a_page_that_says_so(folder: Path) -> None:
    page = write_report(folder).read_text()
    assert "no result yet" in page
    assert page.count("<svg") == 3


def test_an_empty_folder_has_a_page(tmp_path: Path) -> None:
    assert "<svg" not in write_report(tmp_path).read_text()


def test_a_page_counts_one_epoch_and_no_top5_error_of_five_classes(tmp_path: Path) -> None:
    errors = {
        f"{split}/{kind}_error{suffix}": 12.5
        for split, suffix in (("val", ""), ("test", ""), ("test", "_tencrop"))
        for kind in ("top1", "top5")
    }
    result = {"task": "train", "model": "zfnet", "parameters": 7, "ablation": ["none"]}
    result |= {"data": "embedded", "classes": 5, "epochs": 1, "best_epoch": 1, **errors}
    result |= {"train/seconds": 3.2, "test/images": 60, "test/images_in_split": 60}
    # A diverged run has no number there.
    (tmp_path / "result.json").write_text(json.dumps(result | {"val/top1_error": None}))
    page = write_report(tmp_path).read_text()
    assert "1 epoch in 3 s" in page and "top-5" not in page
    assert "top-1 not a number" in page and "top-1 12.50 %" in page


def test_a_task_has_its_pictures_on_a_page_and_names_are_text(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>"
    (tmp_path / "figures").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "figures" / "a<b>&.png")
    values = {"layer": name, "ckpt": "/home/me/outputs/run/checkpoints/best.ckpt", "size": 1600}
    (tmp_path / "result.json").write_text(json.dumps({"task": "occlusion", **values}))
    page = write_report(tmp_path).read_text()
    assert name not in page and "&lt;img src=x" in page
    assert 'src="../figures/a%3Cb%3E%26.png"' in page and "a<b>" not in page
    assert "run/checkpoints/best.ckpt" in page and "/home/me" not in page
    assert "1,600" in page and 'href="../result.json"' in page


def test_curves_go_by_the_epoch_that_the_page_counts(folder: Path) -> None:
    loss = read_curves(folder / "metrics.csv")[1]
    assert (loss.title, loss.across) == ("loss (nats)", "epoch")
    assert [number for _, number in loss.columns] == ["0", "1", "2"]
    assert [number for _, number in loss.rows] == ["0", "1", "2"]
    (_, training, marked), (name, validation, _) = loss.lines
    assert marked and name == "validation" and len(training) == len(validation) == 2
    # Epoch 2 is at the right end; the larger the higher, from the axis on.
    assert validation[1][0] == 448 and training[0][1] < validation[0][1] < validation[1][1] < 292
    rows = (folder / "metrics.csv").read_text().splitlines()
    # Before the first validation; a loss that is not a number is no point.
    (folder / "metrics.csv").write_text("\n".join([rows[0], "1,4,2.0,,,", "1,5,nan,,,"]) + "\n")
    (loss,) = read_curves(folder / "metrics.csv")
    assert loss.across == "step" and [len(points) for _, points, _ in loss.lines] == [1, 0]


def test_long_curves_keep_their_extremes(tmp_path: Path) -> None:
    losses = [f"1,{step},{9 if step == 777 else 1 + step % 2},,," for step in range(5000)]
    rows = METRICS.splitlines()[:1] + losses
    (tmp_path / "metrics.csv").write_text("\n".join(rows) + "\n")
    (loss,) = read_curves(tmp_path / "metrics.csv")
    points = loss.lines[0][1]
    assert len(points) <= MOST_POINTS and list(points) == sorted(points, key=lambda one: one[0])
    # The highest is there, with the room above it.
    assert min(y for _, y in points) == pytest.approx(48 + 244 * 0.08 / 1.08, abs=0.1)
