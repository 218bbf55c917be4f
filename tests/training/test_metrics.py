"""Errors, against torchmetrics' accuracies."""

import pytest
import torch
from torch.nn import functional
from torchmetrics.functional.classification import multiclass_accuracy

from zf_lightning.training.metrics import ClassificationError


def test_errors_are_one_hundred_minus_torchmetrics_accuracies() -> None:
    generator = torch.manual_seed(0)
    logits = torch.randn(500, 20, generator=generator)
    labels = torch.randint(0, 20, (500,), generator=generator)
    logits[torch.arange(500), labels] += 1
    metric = ClassificationError()
    for part in torch.arange(500).split(64):
        valid = torch.ones(len(part), dtype=torch.bool)
        metric.update(logits[part].softmax(1), labels[part], valid)
    values = metric.compute()
    for k in (1, 5):
        accuracy = multiclass_accuracy(logits, labels, 20, top_k=k, average="micro")
        assert values[f"top{k}_error"].item() == pytest.approx(100 - 100 * accuracy.item())
    assert values["count"] == 500
    loss = functional.cross_entropy(logits.double(), labels)
    assert values["loss"].item() == pytest.approx(loss.item(), rel=1e-5)


def test_samples_that_only_fill_up_are_not_counted() -> None:
    metric = ClassificationError()
    probabilities = torch.eye(3)
    labels = torch.tensor([0, 1, 0])
    metric.update(probabilities, labels, torch.tensor([True, True, False]))
    assert metric.compute()["top1_error"] == 0
    assert metric.compute()["count"] == 2


def test_ties_go_to_the_earlier_class_and_nan_is_wrong() -> None:
    metric = ClassificationError()
    even = torch.full((2, 4), 0.25)
    metric.update(even, torch.tensor([0, 1]), torch.tensor([True, True]))
    assert metric.compute()["top1_error"] == 50
    metric.reset()
    metric.update(torch.full((1, 9), torch.nan), torch.tensor([0]), torch.tensor([True]))
    assert metric.compute()["top1_error"] == metric.compute()["top5_error"] == 100


def test_each_image_is_kept_by_its_place_and_none_twice() -> None:
    metric = ClassificationError(per_image=True)
    right = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1]])
    valid, labels = torch.tensor([True, True, False]), torch.tensor([0, 0, 1])
    metric.update(right, labels, valid, torch.tensor([7, 2, 7]))
    metric.update(right[:1], labels[:1], valid[:1], torch.tensor([0]))
    assert metric.wrong_by_image() == {0: False, 2: True, 7: False}
    assert metric.answers_by_image() == {0: 0, 2: 1, 7: 0}
