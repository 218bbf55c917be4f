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
    deconvnet = Deconvnet(kind(), method="gradient")
    name = next(node.name for node in reversed(deconvnet.graph.graph.nodes) if node.op != "output")
    recording = deconvnet.forward(images(), [name])
    pixels = images().requires_grad_()
    output = network(pixels)
    assert torch.equal(recording.outputs[name], output.detach())
    assert torch.equal(kind().eval()(images()), output)
    signal = torch.randn(output.shape, generator=torch.Generator().manual_seed(2)).double()
    (expected,) = torch.autograd.grad(output, pixels, signal)
    found = recording.backward(name, signal, torch.arange(2))
    torch.testing.assert_close(found, expected.detach())


def test_skip_around_a_relu_is_not_rectified() -> None:
    network = Skip()
    deconvnet = Deconvnet(network)
    recording = deconvnet.forward(images(), ["add"])
    signal = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(2)).double()
    found = recording.backward("add", signal, torch.arange(2))
    through = F.conv_transpose2d(signal, network.second.weight, padding=1).clamp(min=0)
    expected = F.conv_transpose2d(signal + through, network.first.weight, padding=1)
    torch.testing.assert_close(found, expected.detach())


class ChangedThroughAView(Small):
    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = x.flatten(1)
        x = self.relu(x)
        return y + x.flatten(1)


def test_change_through_another_shape_is_refused() -> None:
    with pytest.raises(UserError, match="relu changes in place a tensor that add reads again"):
        Deconvnet(ChangedThroughAView())


def test_arithmetic_with_weights() -> None:
    class Learned(Small):
        def forward(self, x: Tensor) -> Tensor:
            x = (x - self.mean) / self.std
            return self.relu(self.first(x) + self.offset) * 2

    network = Learned()
    network.mean = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64).view(3, 1, 1)
    network.std = torch.tensor([0.5, 0.25, 2.0], dtype=torch.float64).view(3, 1, 1)
    network.offset = nn.Parameter(torch.randn(1, 4, 9, 9, dtype=torch.float64))
    units = [Unit(0, "mul", 1, row, 3) for row in (0, 4, 8)]
    found = Deconvnet(network, crops=True).project(images(), units)
    expected = Deconvnet(network, crops=False).project(images(), units)
    torch.testing.assert_close(found.pixels, expected.pixels)
    pixels = images().requires_grad_()
    output = network(pixels)
    torch.testing.assert_close(expected.activations, output[0, 1, [0, 4, 8], 3].detach())
    gradient = Deconvnet(network, method="gradient").project(images(), units[:1]).pixels[0]
    (by_hand,) = torch.autograd.grad(output[0, 1, 0, 3], pixels)
    torch.testing.assert_close(gradient, by_hand[0] * output[0, 1, 0, 3].detach())


def test_products_without_a_gate_are_refused() -> None:
    class Gate(Small):
        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return x * self.relu(x)

    with pytest.raises(UserError, match="mul of two values from the image, neither"):
        Deconvnet(Gate()).project(images(), [Unit(0, "mul", 1)])
