"""Layers are shown as they leave their ReLU, and the network is left as it was."""

import pytest
import torch
from torch import Tensor, nn

from tests.analysis.networks import Branches, chain, pictures
from zf_lightning.analysis import ObservedNetwork
from zf_lightning.errors import UserError


def test_layers_are_what_the_modules_put_out() -> None:
    network, images = chain().eval(), pictures()
    scores, found = ObservedNetwork(network).features(images, ["0", "4", "8"])
    with torch.no_grad():
        first = network[:2](images)
        second = network[2:6](first.clone())
        torch.testing.assert_close(found["0"], first.flatten(1))
        torch.testing.assert_close(found["4"], second.flatten(1))
        torch.testing.assert_close(found["8"], network[6:10](second).flatten(1))
        torch.testing.assert_close(scores, network(images))


def test_an_operation_in_place_does_not_change_what_was_seen() -> None:
    network, images = Branches().eval(), pictures()
    with torch.no_grad():
        values = nn.functional.max_pool2d(torch.relu(network.norm(network.stem(images))), 3, 2, 1)
        _, found = ObservedNetwork(network).features(images, ["inner", "wide"])
        # The convolution's own output: the sum comes afterwards, into the same memory.
        torch.testing.assert_close(found["inner"], network.inner(values).flatten(1))
        summed = torch.relu(network.inner(values) + values)
        torch.testing.assert_close(found["wide"], network.wide(summed).relu().flatten(1))


def test_what_enters_a_relu_is_seen_on_demand() -> None:
    network, images = chain().eval(), pictures()
    _, found = ObservedNetwork(network).features(images, ["0", "8", "2"], rectified=False)
    with torch.no_grad():
        torch.testing.assert_close(found["0"], network[0](images).flatten(1))
        torch.testing.assert_close(found["8"], network[:9](images).flatten(1))
        torch.testing.assert_close(found["2"], network[:3](images).flatten(1))
    network = Branches().eval()
    _, found = ObservedNetwork(network).features(images, ["stem"], rectified=False)
    with torch.no_grad():
        torch.testing.assert_close(found["stem"], network.norm(network.stem(images)).flatten(1))


def test_the_network_is_left_as_it_was() -> None:
    network, images = chain().train(), pictures()
    network[4].eval()
    state = torch.get_rng_state()
    scores = ObservedNetwork(network).run(images)
    assert [module.training for module in network] == [place != 4 for place in range(12)]
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(scores, ObservedNetwork(network).run(images))
    assert all(parameter.grad is None for parameter in network.parameters())


def test_default_layers_stand_for_those_of_the_paper() -> None:
    observed = ObservedNetwork(chain())
    assert observed.layers == ("0", "4", "8", "11")
    assert (observed.last_convolution, observed.last_hidden) == ("4", "8")
    assert observed.middle_and_late == ("4", "8")
    # Without a hidden fully connected layer: the convolution at two thirds, and the last.
    assert ObservedNetwork(Branches()).middle_and_late == ("wide", "narrow")


def test_an_output_that_is_no_scores_is_refused() -> None:
    with pytest.raises(UserError, match=r"not scores \[N, classes\]"):
        ObservedNetwork(nn.Sequential(nn.Conv2d(3, 2, 1))).run(pictures())
    with pytest.raises(UserError, match="no layer conv9"):
        ObservedNetwork(chain()).run(pictures(), ["conv9"])


def test_operations_need_no_rule() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.output = nn.Linear(4, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.output(nn.functional.gelu(self.conv(images)).mean((2, 3)))

    network = Gated().eval()
    scores, found = ObservedNetwork(network).features(pictures(), ["conv"])
    with torch.no_grad():
        torch.testing.assert_close(scores, network(pictures()))
        torch.testing.assert_close(found["conv"], network.conv(pictures()).flatten(1))
