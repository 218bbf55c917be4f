"""metrics.csv: what is damaged is left out with a warning, and a run goes on."""

from pathlib import Path

import pytest

from tests.system.damage import DAMAGES
from zf_lightning.results.metrics_file import read_rows
from zf_lightning.training.loggers import MetricsFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    logger = MetricsFile(tmp_path / "metrics.csv")
    for step in range(20):
        logger.log_metrics({"train/loss": 1.5 + step, "val/loss": 2.0}, step)
        logger.save()
    return tmp_path / "metrics.csv"


def test_a_whole_file_is_read(path: Path) -> None:
    rows = read_rows(path)
    assert [row["step"] for row in rows] == list(map(str, range(20)))
    assert rows[3] == {"step": "3", "train/loss": "4.5", "val/loss": "2.0"}
    assert read_rows(path.with_name("none.csv")) == []


@pytest.mark.parametrize(
    ("line", "text"),
    [(3, ",x,1.5,2.0"), (3, ",2,1.5"), (3, ",2,1.5,2.0,7"), (3, ",2,\0,2.0"), (3, ',2,"1.5,2.0')],
)
def test_a_damaged_row_is_left_out(
    path: Path, line: int, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    lines = path.read_text().splitlines()
    lines[line] = text
    path.write_text("\n".join(lines) + "\n")
    assert [row["step"] for row in read_rows(path)] == [str(n) for n in range(20) if n != line - 1]
    assert "1 of its 20 rows" in caplog.text


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_goes_on_whatever_has_happened(path: Path, damage: str) -> None:
    DAMAGES[damage](path)
    logger = MetricsFile(path)
    logger.log_metrics({"train/loss": 0.5}, 20)
    logger.save()
    assert read_rows(path)[-1]["step"] == "20"
