"""A name with control characters forges no line of run.log."""

import logging
import resource
import signal
from pathlib import Path

import pytest

from zf_lightning.system.log_lines import Escaped, Indented, LogFile, escaped

NAME = "a.jpg\n[2026-01-01 00:00:00][INFO] Tested: 0.0 %\r\x1b[2J\u2028\udcff"


def formatted(formatter: logging.Formatter) -> str:
    record = logging.LogRecord("a", logging.INFO, "file", 1, "bad: %s", (NAME,), None)
    return formatter.format(record)


def test_only_a_record_begins_with_a_time() -> None:
    first, second = formatted(Indented("[now][%(levelname)s] %(message)s")).split("\n")
    assert first == "[now][INFO] bad: a.jpg"
    assert second == "    [2026-01-01 00:00:00][INFO] Tested: 0.0 %\\r\\x1b[2J\\u2028\\udcff"


def test_a_terminal_gets_no_commands_and_its_own_lines_stay() -> None:
    assert formatted(Escaped("%(message)s")) == "bad: " + escaped(NAME)
    assert escaped("\n  größer\tthan\n") == "\n  größer\tthan\n"


def test_a_disk_that_is_full_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = LogFile(tmp_path / "run.log")
    record = logging.LogRecord("a", logging.INFO, "file", 1, "x" * 5000, None, None)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        handler.handle(record)
        handler.handle(record)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handled)
    said = capsys.readouterr().err
    assert said.count("run.log could not be written: [Errno 27]") == 1 == said.count("\n")
    handler.close()
