"""Feature maps on an ordinary pass: those that a recording has, from the network as it is."""

import pytest
import torch
from torchvision.ops import StochasticDepth

from tests.deconv.oracles import small_convnet, some_images
from tests.networks import Viewed, skipping
from zf_lightning.deconv import Deconvnet
from zf_lightning.models import torchvision_network


def test_equal_a_recording_although_operations_are_in_place() -> None:
    network, images = skipping(), some_images(3)
    deconvnet = Deconvnet(network)
    # What the in-place sum and the in-place ReLU after it write over.
    layers = [*deconvnet.layers, "iadd"]
    recorded = deconvnet.forward(images, layers).outputs
    logits, found = deconvnet.with_feature_maps(images, layers)
    assert list(found) == layers
    for layer in layers:
        torch.testing.assert_close(found[layer], recorded[layer], rtol=1e-12, atol=1e-14)
    assert bool((found["last"] != found["iadd"]).any() and (found["iadd"] < 0).any())
    with torch.no_grad():
        assert torch.equal(logits, network.eval()(images))


def test_the_network_stays_as_it_was() -> None:
    network, images = skipping().train(), some_images(2)
    network.block.eval()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    random = torch.get_rng_state()
    logits, _ = Deconvnet(network).with_feature_maps(images, ["last"])
    assert not logits.requires_grad
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(v, before[n]) for n, v in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_weights_that_change_are_seen_and_so_is_an_exchanged_module() -> None:
    network, images = skipping(), some_images(1)
    deconvnet = Deconvnet(network)
    network.stem = torch.nn.Conv2d(3, 4, 5, stride=4).double()
    network.eval()
    expected = torch.relu(network.norm(network.stem(images)))
    found = deconvnet.feature_maps(images, ["stem"])["stem"]
    torch.testing.assert_close(found, expected.detach())


def test_goes_only_as_far_as_it_is_asked() -> None:
    network, images = small_convnet("zfnet_like"), some_images(2)
    ran: list[str] = []
    for name, module in network.named_children():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    found = Deconvnet(network).feature_maps(images, ["conv2"])
    assert list(found) == ["conv2"] and ran[-1] == "conv2_relu"


@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny"])
def test_needs_no_rules(name: str) -> None:
    network, images = torchvision_network(name, num_classes=3).eval(), torch.randn(1, 3, 64, 64)
    deconvnet = Deconvnet(network)
    layer = deconvnet.layers[-1]
    with torch.no_grad():
        logits, found = deconvnet.with_feature_maps(images, [layer])
        torch.testing.assert_close(logits, network(images))
        assert torch.equal(found[layer], logits)


def test_what_is_written_over_in_another_shape_is_kept() -> None:
    network, images = Viewed().double(), some_images(1)
    found = Deconvnet(network).feature_maps(images, ["first", "last"])
    with torch.no_grad():
        assert torch.equal(found["first"], network.first(images))
    assert (found["first"] < 0).any()


def test_what_a_function_hands_on_and_a_sum_writes_over_is_kept() -> None:
    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.depth = torch.nn.Conv2d(3, 3, 1), StochasticDepth(0.2, "row")

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            values = self.depth(self.conv(images))
            values += images
            return values

    network, images = Block().eval(), torch.randn(2, 3, 4, 4)
    found = Deconvnet(network).feature_maps(images, ["conv"])["conv"]
    assert torch.equal(found, network.conv(images).detach())
