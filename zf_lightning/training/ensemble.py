"""An ensemble: several networks, and the mean of their softmaxes (Table 2)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zf_lightning.data import Batch
from zf_lightning.results import metric_names as names
from zf_lightning.training.metrics import ClassificationError, ScoredModule
from zf_lightning.training.module import ImageClassifier

#: Each member's metrics are named after it: `test/member0/top1_error`, `test/member0/…_tencrop`.
MEMBER = "member"


class Ensemble(ScoredModule):
    """Trained networks with the same classes, each with its own preprocessing.

    The mean is of probabilities, and each member counts the same; with ten crops it is the mean of
    the ten of each. The paper says only that it averages.

    Args:
        members: one or more.
    """

    def __init__(self, members: Sequence[ImageClassifier]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.errors = _new_errors()
        self.member_errors = nn.ModuleList(_new_errors() for _ in members)

    def crop_probabilities(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean probabilities `[N, classes]` from the centre crop, and from ten crops.

        Of uint8 images `[N, 3, 256, 256]`.
        """
        one, ten = zip(*self._each(images), strict=True)
        return torch.stack(one).mean(0), torch.stack(ten).mean(0)

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Score each sample by every member and by all together."""
        found = self._each(batch.images)
        for errors, probabilities in zip(self.member_errors, found, strict=True):
            _update(errors, probabilities, batch)
        one, ten = (torch.stack(several).mean(0) for several in zip(*found, strict=True))
        _update(self.errors, (one, ten), batch)

    def on_test_epoch_end(self) -> None:
        """Log top-1 and top-5 error with one crop and with ten, of all together and of each."""
        self._log_errors("test", self.errors)
        for number, errors in enumerate(self.member_errors):
            self._log_errors(f"test/{MEMBER}{number}", errors)
        self.log_bad_files("test", self.trainer.test_dataloaders)

    def _each(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        found = []
        for member in self.members:
            assert isinstance(member, ImageClassifier)
            found.append(member.crop_probabilities(images))
        return found

    def _log_errors(self, where: str, errors: nn.Module) -> None:
        one, ten = errors.values()  # type: ignore[operator]
        self.log_error(where, one)
        self.log_error(where, ten, suffix=names.TENCROP)


def _new_errors() -> nn.ModuleDict:
    """For one crop and for ten."""
    return nn.ModuleDict({"one": ClassificationError(), "ten": ClassificationError()})


def _update(errors: nn.Module, probabilities: tuple[Tensor, Tensor], batch: Batch) -> None:
    for error, values in zip(errors.values(), probabilities, strict=True):  # type: ignore[operator]
        error.update(values, batch.labels, batch.valid)
