"""Small networks with random weights for the tests of the analyses."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def chain(*, seed: int = 0, classes: int = 4) -> nn.Sequential:
    """The stages of the paper in small: takes `[N, 3, 31, 37]` and other sizes."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 6, 5, 2, 1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.LocalResponseNorm(3, 0.1),
            nn.Conv2d(6, 5, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(20, 8),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(8, classes),
        )


class Branches(nn.Module):
    """A skip connection that is added in place, a concatenation, and batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.stem = nn.Conv2d(3, 6, 7, 2, 3, bias=False)
            self.norm = nn.BatchNorm2d(6)
            self.inner = nn.Conv2d(6, 6, 3, padding=1)
            self.wide = nn.Conv2d(6, 4, 3, padding=1)
            self.narrow = nn.Conv2d(6, 4, 1)
            self.output = nn.Linear(8, 5)
            assert self.norm.running_mean is not None and self.norm.running_var is not None
            nn.init.normal_(self.norm.running_mean, std=0.1)
            nn.init.uniform_(self.norm.running_var, 0.5, 2)

    def forward(self, images: Tensor) -> Tensor:
        values = functional.max_pool2d(torch.relu(self.norm(self.stem(images))), 3, 2, 1)
        inner = self.inner(values)
        inner += values
        values = functional.relu(inner, inplace=True)
        values = torch.cat([self.wide(values).relu(), self.narrow(values).relu()], 1)
        return self.output(values.mean((2, 3)))


def pictures(number: int = 3, height: int = 31, width: int = 37, *, seed: int = 0) -> Tensor:
    """float32 `[N, 3, H, W]`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, 3, height, width, generator=generator)
