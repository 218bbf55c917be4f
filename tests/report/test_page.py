"""The page of a run, in a real browser where there is one."""

import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from zf_lightning.report.page import find_pictures, write_report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
METRICS = """epoch,step,train/loss,train/learning_rate,val/top1_error,val/loss
0,9,2.5,0.01,,
0,11,,,80.0,2.2
1,19,2.0,0.02,,
1,23,,,60.0,1.9
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
    assert find_pictures(folder / "figures") == (["conv2", "conv10"], [2, 10])


def test_a_run_without_a_result_has_a_page_that_says_so(folder: Path) -> None:
    page = write_report(folder).read_text()
    assert "no result yet" in page
    assert page.count("<svg") == 1


def test_an_empty_folder_has_a_page(tmp_path: Path) -> None:
    assert "<svg" not in write_report(tmp_path).read_text()


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_page_shows_the_last_epoch_of_the_asked_layer(folder: Path, tmp_path: Path) -> None:
    page = write_report(folder)
    quiet = ["--disable-background-networking", "--no-first-run", "--disable-gpu", "--no-sandbox"]
    assert CHROMIUM is not None
    shown = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            *quiet,
            f"--user-data-dir={tmp_path / 'browser'}",
            "--virtual-time-budget=2000",
            "--dump-dom",
            f"{page.as_uri()}#conv2",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    assert 'src="../figures/epoch%3D010_conv2.png"' in shown
    assert 'alt="conv2 after epoch 10"' in shown
    assert "10 of 10" in shown
