"""The share of the time that a training waits for its input."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import Compose
from tests.runs import rows
from zf_lightning.callbacks import InputWait
from zf_lightning.data import BatchLoader
from zf_lightning.tasks import train


def test_validations_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    loader = BatchLoader([0])  # type: ignore[arg-type]
    loader.seconds_waited = 7.0
    strategy = SimpleNamespace(reduce=lambda value, reduce_op: value)
    trainer: Any = SimpleNamespace(train_dataloader=loader, strategy=strategy)
    logged: dict[str, float] = {}
    module: Any = SimpleNamespace(
        device="cpu", log=lambda name, value: logged.update({name: float(value)})
    )
    wait = InputWait()
    wait.on_train_epoch_start(trainer, module)
    now[0], loader.seconds_waited = 130.0, 10.0
    wait.on_validation_start(trainer, module)
    now[0] = 190.0
    wait.on_validation_end(trainer, module)
    wait.on_train_epoch_end(trainer, module)
    # 3 of 30 seconds.
    assert logged == {"data/wait": pytest.approx(10.0)}


def test_a_loader_counts_the_time_until_a_batch_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("zf_lightning.data.loader.time.monotonic", lambda: now[0])

    class Slow:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> int:
            now[0] += 2.0
            return index

    loader = BatchLoader(Slow())  # type: ignore[arg-type]
    for _ in loader:
        # What is done with the batch does not count.
        now[0] += 5.0
    assert loader.seconds_waited == 6.0


def test_it_is_logged_each_epoch(
    compose_config: Compose, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.runs.CLOCKS", ())
    result = train.run(compose_config(*tiny, "callbacks.probe=null", "data.workers=1"))
    logged = [float(row["data/wait"]) for row in rows(tmp_path / "run") if row["data/wait"]]
    assert len(logged) == 2 and all(0 < share < 100 for share in logged)
    assert 0 < result["data/wait"] < 100
