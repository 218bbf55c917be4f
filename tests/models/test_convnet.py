"""Layer sizes and parameter counts of the paper's networks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.conftest import Compose
from zf_lightning.deconv import Deconvnet
from zf_lightning.errors import UserError
from zf_lightning.models import (
    ConvNet,
    apply_ablation,
    build_convnet,
    layer_table,
    parameter_count,
)
from zf_lightning.training import build as assembly

# paper.md, 1.4: exact counts for 1,000 classes.
PARAMETERS = {
    "none": (62_357_608, 62_378_344),
    "drop_conv34": (59_850_088, 59_870_824),
    "drop_fc7": (45_576_296, 45_597_032),
    "drop_fc6_fc7": (12_943_464, 12_964_200),
    "drop_conv34_fc67": (10_435_944, 10_456_680),
    "fc_2048": (28_848_232, 28_868_968),
    "fc_8192": (154_542_184, 154_562_920),
    "maps_512_1024_512": (107_627_624, 107_648_360),
    "maps_512_1024_512_fc_8192": (237_560_936, 237_581_672),
}


def on_meta(config: object, classes: int = 1000) -> ConvNet:
    model = assembly.build_model_options(config)  # type: ignore[arg-type]
    with torch.device("meta"):
        return build_convnet(model, classes=classes)


@pytest.mark.parametrize("ablation", PARAMETERS)
@pytest.mark.parametrize("model", ["zfnet", "alexnet"])
def test_parameter_counts(model: str, ablation: str, compose_config: Compose) -> None:
    network = on_meta(compose_config(f"model={model}", f"ablation={ablation}"))
    expected = PARAMETERS[ablation][("zfnet", "alexnet").index(model)]
    assert parameter_count(network) == expected


def test_grouped_alexnet_has_krizhevskys_parameters(compose_config: Compose) -> None:
    groups = [f"model.convs.conv{number}.groups=2" for number in (2, 4, 5)]
    network = on_meta(compose_config("model=alexnet", *groups))
    assert parameter_count(network) == 60_965_224


def test_ablations_combine(compose_config: Compose) -> None:
    network = on_meta(compose_config("model=zfnet", "ablation=[drop_fc7,maps_512_1024_512]"))
    assert "fc7" not in network.layers
    assert network.conv4.out_channels == 1024


@pytest.mark.parametrize(
    ("ablations", "words"),
    [
        ("[drop_fc7,fc_2048]", "ablation=fc_2048 changes fc7"),
        ("[drop_conv34,maps_512_1024_512]", "ablation=maps_512_1024_512 changes conv3"),
        ("[drop_fc7,drop_fc6_fc7]", "ablation=drop_fc6_fc7 removes fc7"),
    ],
)
def test_ablations_that_contradict_each_other_are_refused(
    ablations: str, words: str, compose_config: Compose
) -> None:
    with pytest.raises(UserError, match=words):
        on_meta(compose_config("model=zfnet", f"ablation={ablations}"))


def sizes(config: object) -> dict[str, int]:
    size = config.model.input_size  # type: ignore[attr-defined]
    return {
        name: shape[1]
        for name, shape, _ in layer_table(on_meta(config), input_size=size)
        if len(shape) == 3
    }


@pytest.mark.parametrize("model", ["zfnet", "zfnet_cuda_convnet"])
def test_zfnet_sizes(model: str, compose_config: Compose) -> None:
    found = sizes(compose_config(f"model={model}"))
    layers = ("conv1", "conv1_pool", "conv2", "conv2_pool", "conv3", "conv4", "conv5", "conv5_pool")
    assert [found[layer] for layer in layers] == [110, 55, 26, 13, 13, 13, 13, 6]


def test_alexnet_sizes(compose_config: Compose) -> None:
    found = sizes(compose_config("model=alexnet"))
    layers = ("conv1", "conv1_pool", "conv2", "conv2_pool", "conv3", "conv4", "conv5", "conv5_pool")
    assert [found[layer] for layer in layers] == [55, 27, 27, 13, 13, 13, 13, 6]


def test_order_of_a_stage_is_the_papers(compose_config: Compose) -> None:
    names = list(dict(on_meta(compose_config("model=zfnet")).named_children()))
    assert names[:4] == ["conv1", "conv1_relu", "conv1_pool", "conv1_norm"]
    assert "conv5_norm" not in names


def test_width_scales_maps_and_units(compose_config: Compose) -> None:
    network = on_meta(compose_config("model=zfnet_small"), classes=10)
    assert network.conv1.out_channels == 24
    assert network.fc6.out_features == 1024
    assert network.fc8.out_features == 10


def test_state_keys_are_layer_names(compose_config: Compose) -> None:
    keys = on_meta(compose_config("model=zfnet")).state_dict()
    layers = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    assert list(keys) == [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]


@given(
    size=st.integers(9, 40),
    kernel=st.integers(2, 5),
    stride=st.integers(1, 4),
    ceil_mode=st.booleans(),
)
def test_sizes_are_what_pytorch_computes(
    size: int, kernel: int, stride: int, ceil_mode: bool
) -> None:
    network = ConvNet(
        {
            "conv1": {
                "maps": 2,
                "kernel": 3,
                "pool": {"kernel": kernel, "stride": stride, "ceil_mode": ceil_mode},
            }
        },
        {},
        classes=3,
        input_size=size,
    )
    assert network(torch.zeros(1, 3, size, size)).shape == (1, 3)


def test_ceil_convolution_pads_right_and_bottom() -> None:
    layer = {"maps": 1, "kernel": 7, "stride": 2, "ceil_mode": True}
    network = ConvNet({"conv1": layer}, {}, classes=2, input_size=224)
    images = torch.rand(1, 3, 224, 224)
    _, maps = Deconvnet(network).with_feature_maps(images, ["conv1"])
    padded = nn.functional.pad(images, (0, 1, 0, 1))
    expected = nn.functional.conv2d(padded, network.conv1.weight, network.conv1.bias, stride=2)
    assert maps["conv1"].shape == (1, 1, 110, 110)
    torch.testing.assert_close(maps["conv1"], expected.relu())


def test_feature_maps_are_the_outputs_of_the_relus() -> None:
    layers = {"conv1": {"maps": 4, "kernel": 3}, "conv2": {"maps": 5, "kernel": 3}}
    network = ConvNet(layers, {"fc3": {"units": 6}}, classes=2, input_size=10)
    images = torch.randn(2, 3, 10, 10)
    logits, maps = Deconvnet(network).with_feature_maps(images, ["conv1", "conv2", "fc3", "fc8"])
    conv1 = network.conv1(images).relu()
    conv2 = network.conv2(conv1).relu()
    torch.testing.assert_close(maps["conv1"], conv1)
    torch.testing.assert_close(maps["conv2"], conv2)
    torch.testing.assert_close(maps["fc3"], network.fc3(conv2.flatten(1)).relu())
    torch.testing.assert_close(maps["fc8"], logits)
    torch.testing.assert_close(logits, network(images))


@pytest.mark.parametrize(
    ("convs", "words"),
    [
        ({"conv1": {"maps": 4, "kernel": 30}}, "too small"),
        ({"conv1": {"maps": 4, "kernle": 3}}, "conv1 has no option kernle"),
        ({"conv1": {"maps": 4}}, "conv1 is incomplete"),
        ({"conv1": {"maps": 4, "kernel": 3, "groups": 2}}, "does not divide"),
        ({"conv1": {"maps": 4, "kernel": 3, "norm": True}}, "contrast_normalisation"),
    ],
)
def test_impossible_layers_are_named(convs: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        ConvNet(convs, {}, classes=2, input_size=20)


def test_the_output_has_a_name_of_its_own() -> None:
    with pytest.raises(UserError, match="output=conv1 is the name of another layer"):
        ConvNet({"conv1": {"maps": 4, "kernel": 3}}, {}, classes=2, input_size=20, output="conv1")


@pytest.mark.parametrize(
    ("ablation", "words"),
    [
        ({"convs": {"conv9": None}}, "removes conv9"),
        ({"fcs": {"fc9": {"units": 3}}}, "changes fc9"),
    ],
)
def test_ablating_an_absent_layer_is_an_error(ablation: dict, words: str) -> None:
    model = {"name": "mine", "convs": {"conv1": {"maps": 4, "kernel": 3}}, "fcs": {}}
    with pytest.raises(UserError, match=words):
        apply_ablation(model, ablation)


def test_an_ablation_leaves_its_model_alone() -> None:
    model = {"convs": {"conv1": {"maps": 4, "kernel": 3}}, "fcs": {"fc2": {"units": 5}}}
    changed = apply_ablation(model, {"convs": {"conv1": {"maps": 8}}, "fcs": {"fc2": None}})
    assert changed["convs"] == {"conv1": {"maps": 8, "kernel": 3}}
    assert changed["fcs"] == {"fc2": None}
    assert model["convs"]["conv1"]["maps"] == 4


def test_an_ablation_changes_an_inner_option_alone() -> None:
    pool = {"kernel": 3, "stride": 2}
    model = {"convs": {"conv1": {"maps": 4, "kernel": 3, "pool": pool}}, "fcs": {}}
    changed = apply_ablation(model, {"convs": {"conv1": {"pool": {"kernel": 2}}}})
    assert changed["convs"]["conv1"]["pool"] == {"kernel": 2, "stride": 2}
