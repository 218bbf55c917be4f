"""The cross-check: what is projected is compared with the network's own forward pass."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.deconv.oracles import chain, every_unit, some_images
from zf_lightning.deconv import Deconvnet, Units
from zf_lightning.errors import UserError

UNITS = every_unit("3", (2, 2, 2))


class Scaling(nn.Module):
    """What it multiplies with is an attribute: a number for whoever traces it."""

    factor: Any = 1.0

    def forward(self, values: Tensor) -> Tensor:
        return values * self.factor


class Growing(Scaling):
    """Another number in each pass."""

    def forward(self, values: Tensor) -> Tensor:
        self.factor += 1
        return super().forward(values)


class Random(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values * torch.rand(())


def test_a_number_that_changes_after_tracing_is_found() -> None:
    network, images = chain(Scaling()), some_images(2, size=7)
    deconvnet = Deconvnet(network)
    network[2].factor = 2.0
    with pytest.raises(UserError, match=r"^3: a unit's activation is .* own forward pass"):
        deconvnet.project(images, UNITS)
    with pytest.raises(UserError, match=r"^3: "):
        deconvnet.project_windows(images, UNITS)
    deconvnet.cross_check = False
    wrong = deconvnet.project(images, UNITS).activations
    assert not torch.allclose(wrong, network(images)[0, :2, :2, :2].flatten())
    # Below the change all is well.
    deconvnet.cross_check = True
    deconvnet.project(images, every_unit("0", (2, 2, 2)))


def change_weights(network: nn.Module) -> None:
    with torch.no_grad():
        network.get_submodule("0").weight.mul_(1.1)  # type: ignore[operator, union-attr]


CHANGES: dict[str, Any] = {
    "weights": change_weights,
    "loaded weights": lambda network: network.load_state_dict(chain(Scaling()).state_dict()),
    "hooks": lambda network: network[0].register_forward_hook(lambda *_: None),
    "mode": lambda network: network.eval(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_layer_is_compared_again_when_the_network_has_changed(change: str) -> None:
    network, images = chain(Scaling()), some_images(1, size=7)
    deconvnet = Deconvnet(network)
    deconvnet.project(images, UNITS)
    network[2].factor = 2.0
    # Nothing that could be seen has changed.
    deconvnet.project(images, UNITS)
    CHANGES[change](network)
    with pytest.raises(UserError, match=r"^3: "):
        deconvnet.project(images, UNITS)


@pytest.mark.parametrize("module", [Growing(), Random()])
def test_a_network_that_differs_from_itself_is_found(module: nn.Module) -> None:
    deconvnet = Deconvnet(chain(module))
    state = torch.get_rng_state()
    with pytest.raises(UserError, match=r"^3: "):
        deconvnet.project(some_images(1, size=7), UNITS)
    if isinstance(module, Growing):
        assert torch.equal(torch.get_rng_state(), state)


def test_own_passes_are_few_and_go_no_further_than_the_layer() -> None:
    network, images, calls = chain(), some_images(4, size=7), []
    network[3].register_forward_hook(lambda *_: calls.append("layer"))
    network.append(nn.Flatten())
    network.append(nn.Linear(17, 2).double())  # Not for images of this size.
    network[5].register_forward_hook(lambda *_: calls.append("above"))
    deconvnet = Deconvnet(network, cross_check=False)
    deconvnet.project(images, UNITS)
    calls.clear()
    deconvnet.project(images, UNITS)
    without = len(calls)
    deconvnet.cross_check = True
    for _ in range(3):
        deconvnet.project(images, UNITS)
    assert calls == ["layer"] * (4 * without + 2)


class Functional(nn.Module):
    """Layers that are no modules."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3, dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        return F.relu(F.conv2d(images, self.weight))


def test_layers_that_are_no_modules() -> None:
    network, images = Functional(), some_images(1, size=7)
    found = Deconvnet(network).project(images, every_unit("conv2d", (4, 5, 5)))
    torch.testing.assert_close(found.activations, network(images).detach().flatten())


def test_a_shared_module_with_a_functional_relu() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, images: Tensor) -> Tensor:
            return F.relu_(self.conv(F.relu(self.conv(images))))

    network, images = Shared().double(), some_images(1, size=7)
    deconvnet = Deconvnet(network)
    first, second = deconvnet.layers
    for layer, output in ((first, F.relu(network.conv(images))), (second, network(images))):
        found = deconvnet.project(images, every_unit(layer, (3, 7, 7))).activations
        torch.testing.assert_close(found, output.detach().flatten())


def test_a_network_with_an_autocast_of_its_own_is_said_to_be() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 4, 3)
            self.conv2 = nn.Conv2d(4, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv1(x).relu()
            with torch.autocast("cpu", torch.bfloat16):
                return self.conv2(x).float()

    images = torch.randn(2, 3, 12, 12)
    units = Units("conv2", *torch.tensor([[0, 1], [1, 2], [3, 4], [3, 4]]))
    deconvnet = Deconvnet(Mixed())
    with pytest.warns(UserWarning, match=r"conv2 is computed in torch\.bfloat16 by the network"):
        deconvnet.project(images, units)
