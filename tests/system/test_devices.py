"""The device of `trainer.accelerator` and `trainer.devices`."""

from typing import Any

import pytest
import torch

from zf_lightning.errors import UserError
from zf_lightning.system.devices import asks_for_several, chosen_device


def pretend(monkeypatch: pytest.MonkeyPatch, *, cuda: int = 0, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize("accelerator", ["gpu", "cuda", "mps"])
def test_a_gpu_that_is_not_there_is_refused(
    accelerator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch)
    with pytest.raises(UserError, match=f"trainer.accelerator={accelerator}, but this machine"):
        chosen_device({"accelerator": accelerator})


def test_without_a_gpu_auto_is_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    for trainer in ({}, {"accelerator": "auto"}, {"accelerator": "cpu", "devices": 4}):
        assert chosen_device(trainer) == torch.device("cpu")


@pytest.mark.parametrize(
    ("devices", "number"),
    [("auto", 0), (2, 0), (-1, 0), ("2", 0), ([1], 1), ([1, 0], 1), ("1,", 1), ("1,0", 1)],
)
def test_the_first_of_the_devices(
    devices: Any, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, cuda=2)
    for accelerator in ("auto", "gpu", "cuda"):
        device = chosen_device({"accelerator": accelerator, "devices": devices})
        assert device == torch.device("cuda", number)
    assert chosen_device({"accelerator": "cpu", "devices": devices}) == torch.device("cpu")


@pytest.mark.parametrize(
    ("devices", "several"),
    [
        ("auto", False),
        (-1, False),
        (1, False),
        ([3], False),
        (2, True),
        ("2", True),
        ([0, 1], True),
    ],
)
def test_what_asks_for_several(devices: Any, several: bool) -> None:
    assert asks_for_several(devices) == several


def test_other_mistakes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=2)
    with pytest.raises(UserError, match="GPU 2, but there are 2, from 0 on"):
        chosen_device({"accelerator": "gpu", "devices": [2]})
    with pytest.raises(UserError, match="mps, but this machine"):
        chosen_device({"accelerator": "mps"})
    with pytest.raises(UserError, match="tpu is not one of auto, cpu"):
        chosen_device({"accelerator": "tpu"})
    pretend(monkeypatch, mps=True)
    for accelerator in ("auto", "gpu", "mps"):
        assert chosen_device({"accelerator": accelerator}) == torch.device("mps")
