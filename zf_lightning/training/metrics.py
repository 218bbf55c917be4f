"""Top-1 and top-5 error that counts each sample once, over any number of processes."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from zf_lightning.data import BatchLoader


class ClassificationError(Metric):
    """Top-1 error, top-5 error (both in percent) and mean loss over a set of samples.

    The counts are whole numbers, so that the result does not depend on batches or processes.

    Args:
        per_image: whether `update` is told the samples' indices, for `wrong_by_image` and
            `answers_by_image`.
    """

    full_state_update = False
    higher_is_better = False

    COUNTED = ("wrong_top1", "wrong_top5", "count", "loss_sum")

    wrong_top1: Tensor
    wrong_top5: Tensor
    loss_sum: Tensor
    count: Tensor
    #: Of `update` with indices, one tensor a batch.
    indices: list[Tensor]
    wrong: list[Tensor]
    answers: list[Tensor]

    def __init__(self, *, per_image: bool = False) -> None:
        super().__init__()
        for name in self.COUNTED:
            kind = torch.float64 if name == "loss_sum" else torch.int64
            self.add_state(name, torch.zeros((), dtype=kind), dist_reduce_fx="sum")
        for name in ("indices", "wrong", "answers") if per_image else ():
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(
        self,
        probabilities: Tensor,
        labels: Tensor,
        valid: Tensor,
        indices: Tensor | None = None,
    ) -> None:
        """Count the samples `[N]` bool `valid` of probabilities `[N, classes]`, labels `[N]`.

        `indices` `[N]` are their places in the split.
        """
        own = probabilities.gather(1, labels[:, None])
        # A class is ranked before the true one if it is more probable, or as probable and earlier:
        # the same order on every device. NaN ranks before everything, so that it counts as wrong.
        earlier = torch.arange(probabilities.shape[1], device=labels.device) < labels[:, None]
        before = ~(probabilities <= own) | ((probabilities == own) & earlier)
        rank = before.sum(1)
        self.wrong_top1 += ((rank >= 1) & valid).sum()
        self.wrong_top5 += ((rank >= 5) & valid).sum()
        losses = -own[:, 0].double().clamp(min=torch.finfo(torch.float32).tiny).log()
        # Not `losses[valid]`: to know how many they are the processor would wait for a GPU.
        self.loss_sum += losses.where(valid, 0.0).sum()
        self.count += valid.sum()
        if indices is not None:
            self.indices.append(indices.where(valid, -1))
            self.wrong.append(rank >= 1)
            self.answers.append(probabilities.argmax(1))

    def wrong_by_image(self) -> dict[int, bool]:
        """Whether the most probable class is a wrong one, by index, over all processes."""
        return self._by_image("wrong")

    def answers_by_image(self) -> dict[int, int]:
        """The most probable class, by index, over all processes."""
        return self._by_image("answers")

    def _by_image(self, name: str) -> dict[int, Any]:
        with self.sync_context():
            indices, values = (dim_zero_cat(getattr(self, one)) for one in ("indices", name))
            pairs = zip(indices.tolist(), values.tolist(), strict=True)
        return {index: value for index, value in sorted(pairs) if index >= 0}

    def totals(self) -> dict[str, float]:
        """The counts of all processes together, for a checkpoint."""
        with self.sync_context():
            return {name: getattr(self, name).item() for name in self.COUNTED}

    def load_totals(self, totals: Mapping[str, float]) -> None:
        """Restore the counts; on one process only, or they count several times."""
        for name, value in totals.items():
            getattr(self, name).fill_(value)

    def compute(self) -> dict[str, Tensor]:
        """`top1_error` and `top5_error` in percent, `loss` in nats, and the `count` of samples."""
        return {
            "top1_error": 100.0 * self.wrong_top1.double() / self.count,
            "top5_error": 100.0 * self.wrong_top5.double() / self.count,
            "loss": self.loss_sum / self.count,
            "count": self.count,
        }


class ScoredModule(LightningModule):
    """Logs errors and unreadable files of a split under their names."""

    def log_error(
        self, split: str, error: ClassificationError, *, suffix: str = "", prog_bar: bool = False
    ) -> dict[str, float]:
        """Log what was counted, by its names; returns errors and loss, and starts a new count."""
        values = error.compute()
        error.reset()
        count = values.pop("count")
        for name, value in values.items():
            shown = prog_bar and name == "top1_error"
            self.log(f"{split}/{name}{suffix}", value.float(), prog_bar=shown)
        self.log(f"{split}/images{suffix}", count.float())
        return {f"{split}/{name}{suffix}": float(value) for name, value in values.items()}

    def log_bad_files(self, split: str, loader: Any, *, suffix: str = "") -> None:
        """Log how many files all processes together could not read; too many are an error."""
        if isinstance(loader, BatchLoader) and loader.bad_files is not None:
            own = torch.tensor(float(loader.bad_files.count), device=self.device)
            count = self.trainer.strategy.reduce(own, reduce_op="sum")
            loader.bad_files.check(int(count))
            self.log(f"{split}/bad_files{suffix}", count)
