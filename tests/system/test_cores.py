"""Processors, and worker processes that read data."""

import pytest

from zf_lightning.system.cores import CORES_VARIABLE, default_workers


def test_workers_are_one_a_core_at_most_16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CORES_VARIABLE, raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(40))
    assert default_workers(None) == 16
    assert default_workers(None, at_most=None) == 40
    assert default_workers(None, processes=4) == 10
    assert default_workers(None, processes=64) == 1
    assert default_workers(0) == 0 and default_workers(99, processes=2) == 99
    monkeypatch.setenv(CORES_VARIABLE, "5")
    assert default_workers(None) == 5
