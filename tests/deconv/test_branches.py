"""Networks that branch: skips, sums, concatenations, and tensors that are changed in place."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.deconv.oracles import Small, some_images
from zf_lightning.deconv import Deconvnet, Unit
from zf_lightning.errors import UserError


def images() -> Tensor:
    return some_images(seed=1, size=9)


class Skip(Small):
    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return x + self.second(F.relu(x))


class SkipChangedInPlace(Small):
    """The ReLU before the second convolution also rectifies what goes around it."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = self.second(self.relu(x))
        x += y
        return torch.cat([x, y], 1)


class SkipWritten(Small):
    """What the class above means."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        y = self.second(x)
        return torch.cat([x + y, y], 1)


class SumChangedInPlace(Small):
    """`around` is another name of what the sum is written into, `more` of a number."""

    def forward(self, x: Tensor) -> Tensor:
        number = x.size(1)
        more = number
        number += 1
        x = around = self.first(x)
        y = self.second(F.relu(x))
        x += y
        return torch.cat([around * more, y * number], 1)


class SumWritten(Small):
    """What the class above means."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = self.second(F.relu(x))
        return torch.cat([(x + y) * 3, y * 4], 1)


class Twice(Small):
    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        x = x + x + 1
        return F.pad(self.second(x), (1, 1)).view(x.size(0), -1)


class Averages(Small):
    """Channels scaled one by one and averages in functional form."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([torch.unsqueeze(x[:, map_], 1) * (map_ - 0.5) + 1 for map_ in range(3)], 1)
        x = F.leaky_relu(self.first(x), 0.2)
        y = F.avg_pool2d(x, 3, stride=2, padding=1)
        y += F.adaptive_avg_pool2d(F.relu6(self.second(x)), (5, 5))
        return torch.cat((y.mean((2, 3)), F.adaptive_avg_pool2d(x / 3, 1).flatten(1)), dim=1)


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (Skip, Skip),
        (SkipChangedInPlace, SkipWritten),
        (SumChangedInPlace, SumWritten),
        (Twice, Twice),
        (Averages, Averages),
    ],
)
def test_branches_add_up(kind: type[Small], written: type[Small]) -> None:
    network = written().eval()
    deconvnet = Deconvnet(kind(), rule="gradient")
    name = next(node.name for node in reversed(deconvnet.graph.graph.nodes) if node.op != "output")
    recording = deconvnet.record(images(), [name])
    pixels = images().requires_grad_()
    output = network(pixels)
    assert torch.equal(recording.outputs[name], output)
    assert torch.equal(kind().eval()(images()), output)
    signal = torch.randn(output.shape, generator=torch.Generator().manual_seed(2)).double()
    (expected,) = torch.autograd.grad(output, pixels, signal)
    found = deconvnet.graph.reverse(recording, name, signal, torch.arange(2))
    torch.testing.assert_close(found, expected)


def test_skip_around_a_relu_is_not_rectified() -> None:
    network = Skip()
    deconvnet = Deconvnet(network)
    recording = deconvnet.record(images(), ["add"])
    signal = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(2)).double()
    found = deconvnet.graph.reverse(recording, "add", signal, torch.arange(2))
    through = F.conv_transpose2d(signal, network.second.weight, padding=1).clamp(min=0)
    expected = F.conv_transpose2d(signal + through, network.first.weight, padding=1)
    torch.testing.assert_close(found, expected)


class ChangedThroughAView(Small):
    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = x.flatten(1)
        x = self.relu(x)
        return y + x.flatten(1)


def test_change_through_another_shape_is_refused() -> None:
    with pytest.raises(UserError, match="relu changes in place a tensor that add reads again"):
        Deconvnet(ChangedThroughAView())


def test_sum_with_weights_is_refused() -> None:
    class Learned(Small):
        def forward(self, x: Tensor) -> Tensor:
            return self.first(x) + self.offset

    network = Learned()
    network.offset = nn.Parameter(torch.ones(1, 4, 9, 9, dtype=torch.float64))
    with pytest.raises(UserError, match="a signal for 2 inputs, but 1 come from the image"):
        Deconvnet(network, windows=False).project(images(), [Unit(0, "add", 1)])
