"""What is captured of a network's own forward passes is what its graph says."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from zf_lightning.deconv import Deconvnet
from zf_lightning.errors import UserError
from zf_lightning.graph import TrainingCapture


class Reused(nn.Module):
    """One ReLU for two convolutions, and a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        first = self.relu(self.first(images))
        return self.relu(self.second(first)) + first


class Functional(Reused):
    def forward(self, images: Tensor) -> Tensor:
        first = functional.relu(self.first(images))
        return functional.relu(self.second(first) + first)


def in_place() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3)
    )


@pytest.mark.parametrize(
    ("build", "layers"),
    [
        (Reused, ["first", "second"]),
        (Functional, ["second"]),
        (in_place, ["0", "3"]),
        (in_place, ["1", "2"]),
    ],
)
def test_outputs_are_those_of_the_graph(build: Callable[[], nn.Module], layers: list[str]) -> None:
    torch.manual_seed(0)
    network = build().train()
    # The statistics of the batch are those of batch normalisation, as in the graph.
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    deconvnet = Deconvnet(network)
    images = torch.randn(2, 3, 9, 9)
    expected = deconvnet.feature_maps(images, layers)
    training = TrainingCapture(deconvnet.graph, layers)
    training.start()
    output = network(images)
    found = dict(training.outputs)
    network.eval()(images)
    assert not training.outputs  # A forward pass in evaluation mode is none of the training.
    training.stop()
    assert not any(module._forward_hooks for module in network.modules())
    assert set(found) == set(layers)
    assert torch.equal(output, network(images))
    for layer in layers:
        assert torch.equal(found[layer], expected[layer]), layer
        assert not found[layer].requires_grad


def test_behind_a_functional_relu_the_order_is_that_before_it() -> None:
    network = Functional().train()
    deconvnet = Deconvnet(network)
    training = TrainingCapture(deconvnet.graph, ["first"])
    training.start()
    images = torch.randn(2, 3, 9, 9)
    network(images)
    captured = training.outputs["first"]
    training.stop()
    expected = deconvnet.feature_maps(images, ["first"])["first"]
    assert torch.equal(captured.relu(), expected)


def test_an_operation_that_is_no_module_is_refused() -> None:
    deconvnet = Deconvnet(Functional())
    with pytest.raises(UserError, match="name a module"):
        TrainingCapture(deconvnet.graph, ["add"])


def test_a_module_that_is_called_more_often_in_training_is_refused() -> None:
    class Twice(Reused):
        def forward(self, images: Tensor) -> Tensor:
            first = self.relu(self.first(images))
            if self.training:
                first = self.relu(first)
            return self.relu(self.second(first))

    network = Twice().train()
    training = TrainingCapture(Deconvnet(network).graph, ["first", "second"])
    training.start()
    with pytest.raises(UserError, match="relu is called 3 times in training, but 2 times"):
        network(torch.randn(2, 3, 9, 9))
    training.stop()
