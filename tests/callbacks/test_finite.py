"""A run that diverges ends before it spoils a checkpoint."""

from pathlib import Path

import lightning
import pytest
import torch

from tests.conftest import Compose
from zf_lightning.callbacks import finite
from zf_lightning.errors import UserError
from zf_lightning.tasks import train


class Spoil(lightning.Callback):
    """Puts a NaN into a weight after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, *rest) -> None:  # type: ignore[no-untyped-def]
        if trainer.global_step == self.step:
            with torch.no_grad():
                pl_module.network.fc8.weight[0, 0] = torch.nan


# Six steps an epoch: in the middle of the second, and after the last step of it.
@pytest.mark.parametrize(
    ("step", "what"), [(8, "the loss"), pytest.param(12, "a weight", marks=pytest.mark.slow)]
)
def test_the_checkpoints_that_remain_are_of_numbers(
    step: int,
    what: str,
    compose_config: Compose,
    bare: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alerts: list[str] = []
    monkeypatch.setattr(finite, "alert", lambda loggers, title, text: alerts.append(title))
    spoil = ["+callbacks.spoil._target_=tests.callbacks.test_finite.Spoil"]
    config = compose_config(
        *bare, *spoil, f"+callbacks.spoil.step={step}", "callbacks.finite.every_n_steps=4"
    )
    with pytest.raises(UserError, match=f"diverged: {what} is no longer a number at step"):
        train.run(config)
    assert alerts == ["The training has diverged"]
    for name in ("best", "last"):
        checkpoint = torch.load(tmp_path / "run" / "checkpoints" / f"{name}.ckpt")
        assert checkpoint["epoch"] == 0
        assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_learning_rate_that_is_too_high_is_one_sentence(
    compose_config: Compose, bare: list[str]
) -> None:
    with pytest.raises(UserError, match=r"Lower optimizer\.lr"):
        train.run(compose_config(*bare, "optimizer.lr=1.0e6", "scheduler=constant"))
