"""Part of a network run again, beside whole passes of the module with hooks."""

import pytest
import torch
from torch import Tensor, nn

from tests.analysis.networks import Branches, chain, pictures
from zf_lightning.errors import UserError
from zf_lightning.graph import Graph, Rerun, capture


def silenced(network: nn.Module, module: nn.Module, number: int, images: Tensor) -> Tensor:
    """The output of a whole pass, one of a module's maps set to 0."""

    def silence(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        output = output.clone()
        output[:, number] = 0
        return output

    hook = module.register_forward_hook(silence)
    with torch.no_grad():
        found = network(images)
    hook.remove()
    return found


@pytest.mark.parametrize("layer", ["stem", "inner", "wide", "narrow"])
def test_a_silent_map_is_that_of_a_whole_pass(layer: str) -> None:
    """Also where a skip connection goes past it, and is added in place."""
    network, images = Branches().eval(), pictures()
    graph = Graph(network)
    rerun = Rerun(graph, layer, images)
    assert torch.equal(rerun.output, network(images))
    # A layer means what leaves its batch normalisation; the ReLU of 0 is 0.
    module = network.norm if layer == "stem" else network.get_submodule(layer)
    for number in (1, 3):
        expected = silenced(network, module, number, images)
        found = rerun(lambda maps, number=number: maps[:, number].zero_())
        assert torch.equal(found, expected) and not torch.equal(found, rerun.output)
    # Nothing that is kept has changed.
    assert torch.equal(rerun(lambda maps: None), rerun.output)
    assert torch.equal(rerun.maps, capture(graph, images, [layer])[1][layer])


@pytest.mark.parametrize("layer", ["0", "4", "8"])
def test_modules_in_place_and_fully_connected_layers(layer: str) -> None:
    network, images = chain().eval(), pictures()
    rerun = Rerun(Graph(network), layer, images)
    rectifier = network.get_submodule(str(int(layer) + 1))
    for number in range(5):
        found = rerun(lambda maps, number=number: maps[:, number].zero_())
        assert torch.equal(found, silenced(network, rectifier, number, images))


class Tokens(nn.Module):
    """Channels last, and a reshape that asks for sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 6), nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.first(images.flatten(2).transpose(1, 2)).relu()
        return self.second(tokens).reshape(tokens.shape[0], -1, 4).mean(1)


def test_channels_may_be_last() -> None:
    torch.manual_seed(0)
    network, images = Tokens().eval(), pictures(2, 4, 4)
    rerun = Rerun(Graph(network), "first", images)
    assert rerun.maps.shape == (2, 6, 16, 1)
    tokens = network.first(images.flatten(2).transpose(1, 2)).relu()
    tokens[..., 2] = 0
    expected = network.second(tokens).mean(1)
    torch.testing.assert_close(rerun(lambda maps: maps[:, 2].zero_()), expected)


def test_layers_that_cannot_be_changed() -> None:
    with pytest.raises(UserError, match="no layer conv9"):
        Rerun(Graph(chain()), "conv9", pictures())
