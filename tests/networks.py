"""Networks as a user might write them, for `model.network._target_`."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Skipping(nn.Module):
    """Batch normalisation, a reused ReLU in place, a functional one, a skip written in place."""

    def __init__(self, num_classes: int, maps: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, maps, 5, stride=4)
        self.norm = nn.BatchNorm2d(maps)
        self.relu = nn.ReLU(inplace=True)
        self.block = nn.Conv2d(maps, maps, 3, padding=1)
        self.last = nn.Conv2d(maps, maps, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(maps, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        values = self.relu(self.norm(self.stem(images)))
        more = self.last(F.relu(self.block(values)))
        more += values
        return self.head(self.drop(self.relu(more).mean((2, 3))))


class TwoOutputs(Skipping):
    """Gives an auxiliary output in training, as GoogLeNet does."""

    def forward(self, images: Tensor) -> Any:
        logits = super().forward(images)
        return (logits, logits) if self.training else logits


class Smooth(Skipping):
    """Has an operation without a rule."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(F.gelu(images))


def three_outputs() -> nn.Module:
    """A network whose number of classes is fixed."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 3, 8, 8), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))


def no_module(num_classes: int) -> int:
    """Not a network at all."""
    return num_classes
