"""metrics.csv: what is damaged is left out with a warning, and a run goes on."""

import binascii
import csv
from pathlib import Path

import pytest

from tests.system.damage import DAMAGES, flipped_bits
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
    with path.open(newline="") as file:
        table = list(csv.reader(file))
    assert table[0] == ["epoch", "step", "train/loss", "val/loss", "checksum"]
    # CRC-32, as zip has it, of the header and of the row without its last cell.
    line = ",".join(table[0]) + ",3,4.5,2.0"
    assert table[4] == ["", "3", "4.5", "2.0", f"{binascii.crc32(line.encode()):08x}"]
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


def test_every_flipped_bit_of_the_first_rows_is_seen(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = path.read_bytes()
    sound = read_rows(path)
    for damaged in flipped_bits(whole, stop=whole.index(b"\n", 200), step=3):
        path.write_bytes(damaged)
        caplog.clear()
        rows = read_rows(path)
        assert all(row in sound for row in rows)
        assert len(rows) < len(sound) and "is damaged" in caplog.text


def test_a_file_without_checksums_is_read(path: Path) -> None:
    lines = [line.rpartition(",")[0] for line in path.read_text().splitlines()]
    sound = read_rows(path)
    path.write_text("\r\n".join(lines) + "\r\n")
    assert read_rows(path) == sound
    logger = MetricsFile(path)
    logger.log_metrics({"train/loss": 0.5}, 20)
    logger.save()
    assert read_rows(path)[:-1] == sound and "checksum" in path.read_text()
    assert not list(path.parent.glob("*damaged*"))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_goes_on_whatever_has_happened(path: Path, damage: str) -> None:
    DAMAGES[damage](path)
    damaged = path.read_bytes()
    logger = MetricsFile(path)
    logger.log_metrics({"train/loss": 0.5}, 20)
    logger.save()
    assert read_rows(path)[-1]["step"] == "20"
    kept = path.with_name("metrics.damaged.csv")
    if damage.startswith("bit"):
        assert kept.read_bytes() == damaged
