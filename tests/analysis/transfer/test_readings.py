"""Where networks are read."""

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from zf_lightning.analysis.transfer import Readings, find_stages
from zf_lightning.errors import UserError
from zf_lightning.graph import Graph
from zf_lightning.models import ConvNet


@pytest.fixture
def zfnet() -> ConvNet:
    """Pooling and contrast normalisation after conv1, pooling after conv3, as ZFNet has them."""
    pool = {"kernel": 3, "stride": 2, "ceil_mode": True}
    return ConvNet(
        {
            "conv1": {
                "maps": 4,
                "kernel": 7,
                "stride": 2,
                "padding": 1,
                "pool": pool,
                "norm": True,
            },
            "conv2": {"maps": 6, "kernel": 3, "padding": 1},
            "conv3": {"maps": 5, "kernel": 3, "padding": 1, "pool": pool},
        },
        {"fc6": {"units": 8, "dropout": 0.5}},
        classes=3,
        input_size=64,
        contrast_normalisation={"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 2.0},
    ).eval()


def outputs(network: nn.Sequential, images: Tensor) -> dict[str, Tensor]:
    found = {}
    for name, module in network.named_children():
        images = module(images)
        found[name] = images.clone()
    return found


def test_a_layer_is_read_behind_its_pooling_and_normalisation(zfnet: ConvNet) -> None:
    images = torch.randn(2, 3, 64, 64)
    readings = Readings(zfnet, pooled_size=None)
    assert readings.layers == ("conv1", "conv2", "conv3", "fc6")
    with torch.no_grad():
        whole = outputs(zfnet, images)
    found = readings(images)
    for layer, module in zip(
        readings.layers, ("conv1_norm", "conv2_relu", "conv3_pool", "fc6_relu"), strict=True
    ):
        assert torch.equal(found[layer], whole[module].flatten(1)), layer


def test_large_feature_maps_are_pooled_to_six_and_small_ones_left(zfnet: ConvNet) -> None:
    images = torch.randn(2, 3, 64, 64)
    found, whole = Readings(zfnet)(images), Readings(zfnet, pooled_size=None)(images)
    maps = whole["conv2"].view(2, 6, 15, 15)
    expected = functional.adaptive_avg_pool2d(maps, 6).flatten(1)
    torch.testing.assert_close(found["conv2"], expected)
    assert found["fc6"].shape == (2, 8)
    small = Readings(zfnet, "conv3", pooled_size=7)(images)
    assert torch.equal(small["conv3"], whole["conv3"])


def test_last_is_the_layer_below_the_output_and_names_choose(zfnet: ConvNet) -> None:
    assert Readings(zfnet, "last").layers == ("fc6",)
    assert Readings(zfnet, ["conv3", "conv1"]).layers == ("conv3", "conv1")
    assert Readings(zfnet, "fc8").layers == ("fc8",)
    with pytest.raises(UserError, match=r"no layer conv9 .* conv1, conv2, conv3, fc6, fc8"):
        Readings(zfnet, "conv9")


def test_all_layers_come_from_one_pass(zfnet: ConvNet) -> None:
    passes = []
    zfnet.conv1.register_forward_hook(lambda *_: passes.append(1))
    Readings(zfnet)(torch.randn(2, 3, 64, 64))
    assert len(passes) == 1


def test_modules_and_their_parts_are_stages() -> None:
    fire = find_stages(Graph(torchvision.models.squeezenet1_0()))
    assert [stage.name for stage in fire][:5] == [
        "features.0",
        "features.3",
        "features.4",
        "features.5",
        "features.7",
    ]
    residual = find_stages(Graph(torchvision.models.resnet18()))
    assert [stage.name for stage in residual] == [
        "conv1",
        *(f"layer{layer}.{block}" for layer in range(1, 5) for block in range(2)),
        "fc",
    ]


def test_a_residual_block_is_read_after_its_sum_and_relu() -> None:
    network = torchvision.models.resnet18().eval()
    kept: dict[str, Tensor] = {}
    block = network.layer2[0]
    hook = block.register_forward_hook(lambda _m, _i, out: kept.update(block=out.clone()))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        network(images)
    hook.remove()
    found = Readings(network, ["layer2.0", "layer2.0.conv1"], pooled_size=None)(images)
    assert torch.equal(found["layer2.0"], kept["block"].flatten(1))
    # A layer inside a stage can be named too.
    assert found["layer2.0.conv1"].shape == found["layer2.0"].shape


def test_what_comes_later_does_not_write_over_a_reading() -> None:
    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3)
            self.second = nn.Conv2d(4, 4, 1)
            self.last = nn.Linear(4, 2)

        def forward(self, images: Tensor) -> Tensor:
            maps = self.first(images)
            both = self.second(maps) + maps
            return self.last(functional.relu(both, inplace=True).mean((2, 3)))

    network = Overwriting().eval()
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        maps = network.first(images)
    assert torch.equal(
        Readings(network, "first", pooled_size=None)(images)["first"], maps.flatten(1)
    )
    assert [stage.name for stage in find_stages(Graph(network))] == ["first", "second", "last"]
