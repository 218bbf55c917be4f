"""A network that does not learn is noticed."""

import csv
import json
import logging
import math
from pathlib import Path

import pytest
import torch

from tests.conftest import Compose
from zf_lightning.callbacks import stall
from zf_lightning.callbacks.stall import Stall
from zf_lightning.tasks import train


def watch(losses: list[float], *, steps: int = 300, classes: int = 1000) -> list[bool]:
    stall = Stall(tolerance=0.005, patience_epochs=4, patience_steps=1000, stop=False)
    flags = []
    for epoch, loss in enumerate(losses, start=1):
        stall.note(loss, classes=classes, steps=steps, epoch=epoch)
        flags.append(stall.stalled)
    return flags


def test_it_takes_the_patience_in_epochs_and_in_steps() -> None:
    chance = math.log(1000)
    assert watch([chance] * 6) == [False] * 3 + [True] * 3
    assert watch([chance] * 6, steps=200) == [False] * 4 + [True] * 2
    # Half a per cent on either side.
    assert watch([chance * 1.0049] * 4)[-1] and watch([chance * 0.9951] * 4)[-1]
    assert not any(watch([chance * 1.0051] * 9)) and not any(watch([chance * 0.9949] * 9))


def test_a_run_that_moves_again_is_not_flagged(caplog: pytest.LogCaptureFixture) -> None:
    chance = math.log(1000)
    with caplog.at_level(logging.INFO):
        flags = watch([chance] * 5 + [chance - 1] + [chance] * 3)
    assert flags == [False] * 3 + [True] * 2 + [False] * 4
    texts = [record.message for record in caplog.records]
    assert len(texts) == 2
    assert "for 4 epochs (1,200 steps)" in texts[0] and "is 6.908" in texts[0]
    assert "moves again after epoch 6" in texts[1]


def test_its_memory_is_in_the_checkpoint() -> None:
    first = Stall(tolerance=0.005, patience_epochs=2, patience_steps=0, stop=False)
    first.note(math.log(3), classes=3, steps=10, epoch=1)
    second = Stall(tolerance=0.005, patience_epochs=2, patience_steps=0, stop=False)
    second.load_state_dict(first.state_dict())
    second.note(math.log(3), classes=3, steps=10, epoch=2)
    assert second.stalled and not first.stalled


@pytest.mark.parametrize("stop", [False, True])
def test_a_stalled_run_is_flagged_and_stops_only_when_asked(
    stop: bool,
    compose_config: Compose,
    bare: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alerts: list[str] = []
    monkeypatch.setattr(stall, "alert", lambda loggers, title, text: alerts.append(title))
    # Weights this small give every class the same probability, and no step moves them.
    still = ["model.initialisation=paper", "optimizer.lr=0.0"]
    patience = ["callbacks.stall.patience_epochs=2", "callbacks.stall.patience_steps=4"]
    with pytest.warns(UserWarning, match="signal will vanish"):
        result = train.run(
            compose_config(
                *bare, *still, *patience, f"callbacks.stall.stop={stop}", "trainer.max_epochs=4"
            )
        )
    assert result["stalled"] is True and alerts == ["The training has stalled"]
    assert result["epochs"] == (2 if stop else 4)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["stalled"] is True
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        flags = [row["train/stalled"] for row in csv.DictReader(file) if row["train/stalled"]]
    assert [float(flag) for flag in flags] == ([0, 1] if stop else [0, 1, 1, 1])


def test_the_mean_is_of_the_whole_loss_when_gradients_are_added_up(
    compose_config: Compose, bare: list[str]
) -> None:
    still = ["model.initialisation=paper", "optimizer.lr=0.0"]
    patience = ["callbacks.stall.patience_epochs=1", "callbacks.stall.patience_steps=3"]
    parts = ["trainer.accumulate_grad_batches=2", "trainer.max_epochs=1"]
    with pytest.warns(UserWarning, match="signal will vanish"):
        result = train.run(compose_config(*bare, *still, *patience, *parts))
    assert result["stalled"] is True
    assert torch.tensor(result["train/loss_centre_crop"]).item() == pytest.approx(
        math.log(3), rel=0.005
    )
