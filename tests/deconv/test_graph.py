"""Tracing networks of any kind: ReLUs of every form, names of layers, missing rules."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.deconv.oracles import Small, randomise, some_images
from zf_lightning.deconv import Deconvnet, Unit
from zf_lightning.errors import UserError


def images() -> Tensor:
    return some_images(seed=1, size=9)


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


@pytest.mark.parametrize("kind", [ReusedInPlaceRelu, FunctionalRelus, MethodRelus])
@pytest.mark.parametrize("method", ["deconvnet", "guided", "gradient"])
def test_every_form_of_relu_is_the_same(kind: type[Small], method: Any) -> None:
    plain, other = Deconvnet(ModuleRelus(), method=method), Deconvnet(kind(), method=method)
    assert torch.equal(
        other.forward(images(), ["second"]).outputs["second"], kind().eval()(images())
    )
    units = [Unit(image, layer, 1, 2, 3) for image in (0, 1) for layer in ("first", "second")]
    found, expected = other.project(images(), units), plain.project(images(), units)
    assert torch.equal(found.activations, expected.activations)
    assert (found.activations >= 0).all(), "a layer means what leaves its ReLU"
    assert torch.equal(found.pixels, expected.pixels)
    assert found.pixels.any()


class WithoutRule(Small):
    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        x = torch.sin(x)
        x = nn.functional.gelu(self.second(x))
        return x.softmax(1)


def test_missing_rule_names_the_node() -> None:
    deconvnet = Deconvnet(WithoutRule())
    assert deconvnet.layers == ("first", "second")
    # What is above a layer does not matter to it.
    assert deconvnet.project(images(), [Unit(0, "first", 1, 4, 4)]).pixels.any()
    with pytest.raises(UserError, match=r"Node sin \(function .*sin has no backward"):
        deconvnet.project(images(), [Unit(0, "second", 1)])
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.LogSigmoid()), nn.Conv2d(4, 4, 3))
    with pytest.raises(UserError, match=r"_1_0 \(module 1.0, LogSigmoid\): log_sigmoid has no"):
        Deconvnet(network.double()).forward(images(), ["2"])


class HalfSine(torch.autograd.Function):
    """A sine that halves the signal."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        return values.sin()

    @staticmethod
    def backward(context: Any, signal: Tensor) -> Tensor:
        return signal / 2


def test_rule_of_the_users_own() -> None:
    deconvnet = Deconvnet(WithoutRule(), rules={torch.sin: HalfSine.apply})
    assert deconvnet.project(images(), [Unit(0, "second", 1, 4, 4)]).pixels.any()
    receptive_field = deconvnet.receptive_fields(["second"], (9, 9))["second"]
    assert receptive_field.size == (5, 5)
    # An operation with its own derivative.
    torch.testing.assert_close(
        Deconvnet(WithoutRule(), rules={"sin": torch.relu, torch.sin: torch.relu})
        .forward(images(), ["second"])
        .outputs["second"],
        Deconvnet(ModuleRelusWithoutPool()).forward(images(), ["second"]).outputs["second"],
    )
    with pytest.raises(UserError, match="gives int, not a tensor"):
        Deconvnet(WithoutRule(), rules={torch.sin: len}).forward(images(), ["second"])


class ModuleRelusWithoutPool(Small):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.relu(self.first(x)))


class Doubled(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Renamed(nn.Conv2d):
    """A subclass that computes the same."""


def test_subclass_is_only_taken_for_its_base_if_it_computes_the_same() -> None:
    network = nn.Sequential(Renamed(3, 4, 3), nn.ReLU()).double()
    outputs = Deconvnet(network).forward(images(), ["0"]).outputs
    assert torch.equal(outputs["0"], network(images()).detach())
    network = nn.Sequential(Doubled(3, 4, 3), nn.ReLU()).double()
    outputs = Deconvnet(network).forward(images(), ["1"]).outputs
    assert torch.equal(outputs["1"], network(images()))


def test_a_sum_with_a_factor() -> None:
    class Scaled(Small):
        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return torch.add(x, x, alpha=2)

    network = Scaled()
    state = Deconvnet(network).forward(images(), ["add"])
    assert torch.equal(state.outputs["add"], network(images()).detach())
    signal = torch.ones_like(state.outputs["add"])
    expected = F.conv_transpose2d(3 * signal, network.first.weight, padding=1)
    torch.testing.assert_close(state.backward("add", signal), expected.detach())


def test_names_of_layers() -> None:
    nested = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Sequential(nn.Flatten(), nn.Linear(196, 2))
    ).double()
    deconvnet = Deconvnet(nested)
    assert deconvnet.layers == ("0.0", "1.1")
    outputs = deconvnet.forward(images(), ["0.0", "0.1", "1.1"]).outputs
    assert torch.equal(outputs["0.0"], outputs["0.1"])
    reused = Deconvnet(ReusedInPlaceRelu())
    with pytest.raises(UserError, match="relu is used 2 times: name one of relu_0, relu_1"):
        reused.forward(images(), ["relu"])
    outputs = reused.forward(images(), ["relu_0", "relu_1", "first"]).outputs
    assert outputs["relu_1"].shape == (2, 4, 4, 4)
    assert torch.equal(outputs["relu_0"], outputs["first"])


def test_every_use_of_a_shared_convolution_is_a_layer() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(torch.relu(self.conv(x)))

    network = Shared()
    deconvnet = Deconvnet(network)
    layers = deconvnet.find_layers("all")
    assert layers == ["conv_0", "conv_1"]
    outputs = deconvnet.feature_maps(images(), layers)
    with torch.no_grad():
        first = network.conv(images()).relu()
        assert torch.equal(outputs["conv_0"], first)
        assert torch.equal(outputs["conv_1"], network.conv(first))


class Residual(Small):
    """Convolution, batch normalisation, ReLU; behind the second convolution a sum comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last_norm = nn.BatchNorm2d(4).double(), nn.BatchNorm2d(4).double()
        randomise(self.state_dict().items())

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.first(x)))
        y = self.last_norm(self.second(x))
        y += x
        return self.relu(y)


def test_batch_norm_belongs_to_the_layer_before_it() -> None:
    network = Residual().train()
    deconvnet = Deconvnet(network)
    assert deconvnet.layers == ("first", "second")
    layers = ["first", "norm", "second", "last_norm", "iadd", "relu_1"]
    outputs = deconvnet.forward(images(), layers).outputs
    network.eval()
    norm = network.norm(network.first(images()))
    assert torch.equal(outputs["first"], norm.relu())
    # What is named itself means itself.
    assert torch.equal(outputs["norm"], norm)
    last_norm = network.last_norm(network.second(norm.relu()))
    assert torch.equal(outputs["second"], last_norm)
    assert torch.equal(outputs["last_norm"], last_norm)
    assert torch.equal(outputs["iadd"], last_norm + norm.relu())
    assert torch.equal(outputs["relu_1"], network(images()))


def test_mode_of_a_network_that_is_traced() -> None:
    network = MethodRelus().train()
    Deconvnet(network)
    assert network.training and network.relu.training


def test_network_whose_way_depends_on_values() -> None:
    class Dynamic(Small):
        def forward(self, x: Tensor) -> Tensor:
            return self.first(x) if x.amax() > 0 else self.second(x)

    for method, refusal in (("gradient", "depends on values"), ("deconvnet", "gt has no backward")):
        with pytest.raises(UserError, match=refusal):
            Deconvnet(Dynamic(), method=method).project(images(), [Unit(0, "first", 0, 0, 0)])  # type: ignore[arg-type]


def test_network_of_two_inputs() -> None:
    class Pair(Small):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.first(x) + y

    with pytest.raises(UserError, match="takes 2 inputs"):
        Deconvnet(Pair())


def test_images_of_a_batch_stay_apart() -> None:
    class Mixed(Small):
        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x).roll(1, 0)).flatten()

    with pytest.raises(UserError, match="second of one image depends on the others"):
        Deconvnet(Mixed()).forward(images(), ["second"])
    with pytest.raises(UserError, match="no units of each image"):
        Deconvnet(Mixed()).forward(images(), ["flatten"])
