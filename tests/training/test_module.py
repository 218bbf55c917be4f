"""What the LightningModule draws at random on several processes."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.conftest import Compose
from zf_lightning.data import Batch
from zf_lightning.training.build import build_model_options
from zf_lightning.training.module import ImageClassifier


def drawn(
    classifier: ImageClassifier, monkeypatch: pytest.MonkeyPatch, *, rank: int, indices: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The crops of a training step of a process, and what dropout leaves of a layer of ones."""
    trainer: Any = SimpleNamespace(
        global_rank=rank,
        global_step=5,
        current_epoch=2,
        optimizers=[SimpleNamespace(param_groups=[{"lr": 0.1}])],
    )
    monkeypatch.setattr(classifier, "_trainer", trainer)
    monkeypatch.setattr(classifier, "log", lambda *_, **__: None)
    seen: list[torch.Tensor] = []
    inputs = classifier.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    ones = classifier.network.fc6_dropout.register_forward_pre_hook(
        lambda _, given: (torch.ones_like(given[0]),)
    )
    left = classifier.network.fc6_dropout.register_forward_hook(
        lambda *given: seen.append(given[2])
    )
    images = torch.randint(0, 256, (1, 3, 256, 256), generator=torch.Generator().manual_seed(0))
    count = len(indices)
    classifier.train().training_step(
        Batch(
            images.to(torch.uint8).expand(count, -1, -1, -1),
            torch.zeros(count, dtype=torch.int64),
            torch.tensor(indices),
            torch.ones(count),
        ),
        0,
    )
    for hook in (inputs, ones, left):
        hook.remove()
    return seen[0], seen[1]


def test_processes_differ_in_dropout_and_samples_in_their_crops(
    compose_config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ["model.input_size=70", "model.width=0.05", "model.preprocessing.mean=none"]
    config = compose_config(*small, "model.preprocessing.scale=imagenet")
    classifier = ImageClassifier(build_model_options(config), ["a", "b"])
    crops, left = drawn(classifier, monkeypatch, rank=0, indices=[3, 8])
    again = drawn(classifier, monkeypatch, rank=0, indices=[3, 8])
    assert torch.equal(again[0], crops) and torch.equal(again[1], left)
    # The same picture under two indices: another crop of it; half of the units each time.
    assert not torch.equal(crops[0], crops[1])
    assert 0.3 < (left == 0).float().mean() < 0.7
    other_crops, other_left = drawn(classifier, monkeypatch, rank=1, indices=[3, 9])
    assert torch.equal(other_crops[0], crops[0])
    assert not torch.equal(other_crops[1], crops[1])
    assert not torch.equal(other_left[0], left[0])
