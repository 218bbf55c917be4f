"""A run that stops in mid-epoch and goes on sees each sample once, and ends as if nothing was."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from tests.conftest import Compose
from tests.runs import Stopped, rows, stop_at, weights
from zf_lightning.data import Batch
from zf_lightning.errors import UserError
from zf_lightning.tasks import train
from zf_lightning.training.module import ImageClassifier


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, list[int]]]:
    """Fills with (epoch, step, dataset indices that count) of every training step."""
    steps: list[tuple[int, int, list[int]]] = []
    step = ImageClassifier.training_step

    def recording(self: ImageClassifier, batch: Batch, batch_index: int) -> torch.Tensor:
        steps.append((self.current_epoch, self.global_step, batch.indices[batch.valid].tolist()))
        return step(self, batch, batch_index)

    monkeypatch.setattr(ImageClassifier, "training_step", recording)
    return steps


# 48 training images: 7 steps an epoch, the last of which is not full.
QUICK = [
    "data.batch_size=7",
    "trainer.log_every_n_steps=1",
    "callbacks.probe=null",
    "callbacks.last_checkpoint.steps=2",
]


@pytest.mark.parametrize(
    ("workers", "stop", "going_on_workers"),
    [
        (2, 12, 2),
        *(pytest.param(*other, marks=pytest.mark.slow) for other in ((0, 10, 0), (2, 4, 0))),
    ],
)
def test_a_run_that_stops_in_mid_epoch_goes_on_with_what_it_had_not_seen(
    workers: int,
    stop: int,
    going_on_workers: int,
    compose_config: Compose,
    tiny: list[str],
    tmp_path: Path,
    seen: list[tuple[int, int, list[int]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = [*tiny, *QUICK, "trainer.max_epochs=3"]
    whole = train.run(compose_config(*options))
    expected_seen = seen.copy()
    (tmp_path / "run").rename(tmp_path / "whole")
    seen.clear()

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(stop, patch)
        train.run(compose_config(*options, f"data.workers={workers}"))
    kept = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"]
    assert kept % 7 and stop - 2 <= kept <= stop
    before = [entry for entry in seen if entry[1] < kept]
    seen.clear()
    resumed = train.run(compose_config(*options, f"data.workers={going_on_workers}"))

    assert before + seen == expected_seen
    for epoch in range(3):
        indices = [i for e, _, batch in before + seen for i in batch if e == epoch]
        assert Counter(indices) == Counter(range(48))
    expected = weights(tmp_path / "whole")
    for name, value in weights(tmp_path / "run").items():
        assert torch.equal(value, expected[name]), name
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")
    for name in ("train/top1_error", "val/loss", "test/loss_tencrop"):
        assert resumed[name] == whole[name]


@pytest.mark.slow
def test_with_accumulated_gradients_and_validations_within_the_epoch(
    compose_config: Compose,
    tiny: list[str],
    tmp_path: Path,
    seen: list[tuple[int, int, list[int]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = [
        *tiny,
        *QUICK,
        "data.batch_size=4",
        "trainer.accumulate_grad_batches=2",
        "trainer.val_check_interval=4",
        "callbacks.last_checkpoint.steps=1",
    ]
    train.run(compose_config(*options))
    expected_seen = seen.copy()
    (tmp_path / "run").rename(tmp_path / "whole")
    seen.clear()
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(9, patch)
        train.run(compose_config(*options))
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt")
    # After 9 steps, 6 batches of the second epoch; a validation follows the 4th and the 8th.
    assert last["global_step"] == 9 and last["epoch"] == 1
    before = seen.copy()
    assert len(before) == 12 + 6
    seen.clear()
    train.run(compose_config(*options))
    assert before + seen == expected_seen
    expected = weights(tmp_path / "whole")
    for name, value in weights(tmp_path / "run").items():
        assert torch.equal(value, expected[name]), name
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


@pytest.mark.slow
def test_after_a_whole_epoch_workers_go_on_with_the_next_ones_order(
    compose_config: Compose, tiny: list[str], seen: list[tuple[int, int, list[int]]]
) -> None:
    options = [*tiny, "callbacks.probe=null", "logger=none", "scheduler=constant"]
    train.run(compose_config(*options, "trainer.max_epochs=2", "data.workers=1"))
    straight = seen.copy()
    train.run(compose_config(*options, "trainer.max_epochs=3", "data.workers=1"))
    third = [batch for epoch, _, batch in seen if epoch == 2]
    assert seen[: len(straight)] == straight
    assert third != [batch for epoch, _, batch in seen if epoch == 0]
    assert Counter(i for batch in third for i in batch) == Counter(range(48))


def test_going_on_in_mid_epoch_with_another_order_is_refused(
    compose_config: Compose, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*tiny, *QUICK]
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(3, patch)
        train.run(compose_config(*options))
    with pytest.raises(UserError, match=r"data\.batch_size 7, and now it is 8"):
        train.run(compose_config(*options, "data.batch_size=8"))
    with pytest.raises(UserError, match=r"number of training images 48, and now it is 30"):
        train.run(compose_config(*options, "data.train_per_class=10"))


def test_a_checkpoint_is_written_by_the_clock(
    compose_config: Compose, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*tiny, *QUICK, "callbacks.last_checkpoint.steps=null"]
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(3, patch)
        train.run(compose_config(*options, "callbacks.last_checkpoint.minutes=1.0e-6"))
    assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"] == 3


def test_a_run_limited_by_steps_goes_on(
    compose_config: Compose,
    tiny: list[str],
    seen: list[tuple[int, int, list[int]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = [*tiny, *QUICK, "trainer.max_epochs=9", "trainer.max_steps=17"]
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(11, patch)
        train.run(compose_config(*options))
    before = seen.copy()
    seen.clear()
    train.run(compose_config(*options))
    # The checkpoint is of step 11, which the stopped run did not take.
    assert [step for _, step, _ in before + seen] == list(range(17))
    for epoch in (0, 1):
        indices = [i for e, _, batch in before + seen for i in batch if e == epoch]
        assert Counter(indices) == Counter(range(48))
