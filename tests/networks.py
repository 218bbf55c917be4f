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


class Grey(Skipping):
    """Takes images of one channel."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.stem = nn.Conv2d(1, 4, 5, stride=4)


class ItemInit(Skipping):
    """Reads values while it is built, which there are none of on the meta device."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.rates = [rate.item() for rate in torch.linspace(0, 0.1, 3)]


class Scaled(Skipping):
    """Divides by 255 if the values look like bytes."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images / 255 if images.max() > 200 else images)


class TupleChild(nn.Module):
    """Has an inner module that gives a list of feature maps."""

    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 5, 4), nn.Conv2d(8, 8, 3, 2)

        def forward(self, images: Tensor) -> list[Tensor]:
            first = F.relu(self.a(images))
            return [first, F.relu(self.b(first))]

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.backbone = self.Backbone()
        self.head = nn.Linear(8, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images)[-1].mean((2, 3)))


class Smooth(Skipping):
    """Has an operation without a rule."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(torch.sin(images))


def three_outputs() -> nn.Module:
    """A network whose number of classes is fixed."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 3, 8, 8), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))


def no_module(num_classes: int) -> int:
    """Not a network at all."""
    return num_classes


class Viewed(nn.Module):
    """Its first convolution's output is written over through another shape of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.last = nn.Linear(4 * 39 * 39, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(torch.relu_(torch.flatten(self.first(images), 1)))


def skipping() -> Skipping:
    torch.manual_seed(0)
    network = Skipping(5).double()
    network.norm.running_mean += 0.3
    return network
