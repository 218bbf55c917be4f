"""Tracing networks of any kind: ReLUs of every form, skips, in-place changes, missing rules."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zf_lightning.deconv import Deconvnet, Mode, Reversal, Unit
from zf_lightning.errors import UserError


class Small(nn.Module):
    """Two convolutions; what happens around them is a subclass's business."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.last_relu = nn.ReLU()
        # Most units are alive.
        nn.init.constant_(self.first.bias, 0.5)
        nn.init.constant_(self.second.bias, 0.5)
        self.double()


class ModuleRelus(Small):
    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.relu(self.first(x)), 3, 2, ceil_mode=True)
        return self.last_relu(self.second(x))


class ReusedInPlaceRelu(Small):
    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.relu(self.first(x)), 3, 2, ceil_mode=True)
        return self.relu(self.second(x))


class FunctionalRelus(Small):
    def forward(self, x: Tensor) -> Tensor:
        x = torch.max_pool2d(F.relu(self.first(x), inplace=True), 3, 2, 0, 1, True)
        return torch.relu(self.second(x))


class MethodRelus(Small):
    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.first(x).relu_(), 3, stride=2, ceil_mode=True)
        return F.dropout(F.relu_(self.second(x)), training=self.training).relu()


def images() -> Tensor:
    return torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("kind", [ReusedInPlaceRelu, FunctionalRelus, MethodRelus])
@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient"])
def test_every_form_of_relu_is_the_same(kind: type[Small], rule: Any) -> None:
    plain, other = Deconvnet(ModuleRelus(), rule=rule), Deconvnet(kind(), rule=rule)
    assert torch.equal(
        other.record(images(), ["second"]).outputs["second"], kind().eval()(images())
    )
    units = [Unit(image, layer, 1, 2, 3) for image in (0, 1) for layer in ("first", "second")]
    found, expected = other.project(images(), units), plain.project(images(), units)
    assert torch.equal(found.activations, expected.activations)
    assert (found.activations >= 0).all(), "a layer means what leaves its ReLU"
    assert torch.equal(found.pixels, expected.pixels)
    assert found.pixels.any()


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


class Twice(Small):
    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        x = x + x + 1
        return F.pad(self.second(x), (1, 1)).view(x.size(0), -1)


@pytest.mark.parametrize(
    ("kind", "written"),
    [(Skip, Skip), (SkipChangedInPlace, SkipWritten), (Twice, Twice)],
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


class WithoutRule(Small):
    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        x = torch.sigmoid(x)
        x = nn.functional.gelu(self.second(x))
        return x.softmax(1)


def test_missing_rule_names_the_node() -> None:
    deconvnet = Deconvnet(WithoutRule())
    assert deconvnet.layers == ("first", "second")
    # What is above a layer does not matter to it.
    assert deconvnet.project(images(), [Unit(0, "first", 1, 4, 4)]).pixels.any()
    with pytest.raises(UserError, match=r"Node sigmoid \(function sigmoid\) has no rule"):
        deconvnet.project(images(), [Unit(0, "second", 1)])
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Softplus()), nn.Conv2d(4, 4, 3))
    with pytest.raises(UserError, match=r"Node _1_0 \(module 1.0, Softplus\) has no rule"):
        Deconvnet(network.double()).record(images(), ["2"])


def test_rule_of_the_users_own() -> None:
    class Halving(Reversal):
        def reverse(self, signal: Tensor, images: Tensor) -> tuple[Tensor, ...]:
            return (signal / 2,)

    def sigmoid(mode: Mode, values: Tensor) -> tuple[Tensor, Reversal]:
        return values.sigmoid(), Halving()

    deconvnet = Deconvnet(WithoutRule(), rules={torch.sigmoid: sigmoid})
    assert deconvnet.project(images(), [Unit(0, "second", 1, 4, 4)]).pixels.any()
    receptive_field = deconvnet.receptive_fields(["second"], (9, 9))["second"]
    assert receptive_field.size == (5, 5)


class Doubled(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Renamed(nn.Conv2d):
    """A subclass that computes the same."""


def test_subclass_is_only_taken_for_its_base_if_it_computes_the_same() -> None:
    network = nn.Sequential(Renamed(3, 4, 3), nn.ReLU()).double()
    outputs = Deconvnet(network).record(images(), ["0"]).outputs
    assert torch.equal(outputs["0"], network(images()))
    with pytest.raises(UserError, match="function mul"):
        Deconvnet(nn.Sequential(Doubled(3, 4, 3), nn.ReLU()).double()).record(images(), ["1"])


def test_padding_that_has_no_rule() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")).double()
    with pytest.raises(UserError, match=r"module 0, Conv2d\): padding_mode='reflect'"):
        Deconvnet(network).record(images(), ["0"])


def test_arguments_that_have_no_rule() -> None:
    class Scaled(Small):
        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return torch.add(x, x, alpha=2)

    with pytest.raises(UserError, match=r"Node add .*alpha"):
        Deconvnet(Scaled()).record(images(), ["add"])


def test_names_of_layers() -> None:
    nested = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Sequential(nn.Flatten(), nn.Linear(196, 2))
    ).double()
    deconvnet = Deconvnet(nested)
    assert deconvnet.layers == ("0.0", "1.1")
    outputs = deconvnet.record(images(), ["0.0", "0.1", "1.1"]).outputs
    assert torch.equal(outputs["0.0"], outputs["0.1"])
    reused = Deconvnet(ReusedInPlaceRelu())
    with pytest.raises(UserError, match="relu is used 2 times: name one of relu, relu_1"):
        reused.record(images(), ["relu"])
    assert reused.record(images(), ["relu_1"]).outputs["relu_1"].shape == (2, 4, 4, 4)


def test_mode_of_a_network_that_is_traced() -> None:
    network = MethodRelus().train()
    Deconvnet(network)
    assert network.training and network.relu.training


def test_network_that_cannot_be_traced() -> None:
    class Dynamic(Small):
        def forward(self, x: Tensor) -> Tensor:
            return self.first(x) if x.sum() > 0 else self.second(x)

    with pytest.raises(UserError, match="Dynamic cannot be traced"):
        Deconvnet(Dynamic())

    class Pair(Small):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.first(x) + y

    with pytest.raises(UserError, match="takes 2 inputs"):
        Deconvnet(Pair())


def test_images_of_a_batch_stay_apart() -> None:
    class Mixed(Small):
        def forward(self, x: Tensor) -> Tensor:
            return self.first(x).flatten()

    with pytest.raises(UserError, match="must stay apart"):
        Deconvnet(Mixed()).record(images(), ["flatten"])
