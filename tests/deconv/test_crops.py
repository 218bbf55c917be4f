"""Units computed where they are: equal to whole images, wherever they are in whatever graph."""

from unittest.mock import patch

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.vgg import VGG, make_layers

from tests.deconv.oracles import NETWORKS, Small, randomise, small_convnet, some_images
from tests.deconv.published import built, narrow
from zf_lightning.deconv import Deconvnet, Units, projection
from zf_lightning.deconv.projection import in_crops_is_less_work


def units_of(layer: str, maps: Tensor, *, each: int = 1) -> Units:
    """Strong units of the corners, of the middles of the borders and of the interior."""
    images, feature_maps, rows, columns = [], [], [], []
    height, width = maps.shape[2:]
    for image in range(len(maps)):
        for row in sorted({0, 1, height // 2, height - 1}):
            for column in sorted({0, width // 2, width - 1}):
                strongest = maps[image, :, row, column].argsort(descending=True)[:each]
                images += [image] * len(strongest)
                feature_maps += strongest.tolist()
                rows += [row] * len(strongest)
                columns += [column] * len(strongest)
    return Units(layer, *(torch.tensor(one) for one in (images, feature_maps, rows, columns)))


def assert_equal_to_whole_images(
    network: nn.Module, images: Tensor, layer: str, *, tolerance: float, **mode: str
) -> None:
    windows = Deconvnet(network, crops=True, batch_size=7, **mode)  # type: ignore[arg-type]
    whole = Deconvnet(network, crops=False, **mode)  # type: ignore[arg-type]
    units = units_of(layer, whole.forward(images, [layer]).outputs[layer])
    # The oracle is only one if windows are really used.
    assert windows._geometries.of([layer], tuple(images.shape[1:]))[layer].plan is not None
    expected = whole.project(images, units)
    scale = expected.pixels.abs().amax((1, 2, 3))
    assert scale.max() > 0
    for shared in (True, False):
        every = torch.full([len(images)], shared)
        with patch.object(projection, "sharing_is_less_work", return_value=every):
            found = windows.project(images, units)
        torch.testing.assert_close(
            found.activations, expected.activations, rtol=tolerance, atol=tolerance
        )
        difference = (found.pixels - expected.pixels).abs().amax((1, 2, 3))
        assert (difference <= tolerance * scale).all(), (difference / scale).max()
    expected_tiles = whole.project_windows(images, units)
    tiles = windows.project_windows(images, units)
    for name in ("tops", "lefts", "inside"):
        assert torch.equal(getattr(tiles, name), getattr(expected_tiles, name))
    scales = scale.clamp(min=1e-30)[:, None, None, None]
    torch.testing.assert_close(
        tiles.pixels / scales, expected_tiles.pixels / scales, rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient"])
@pytest.mark.parametrize("norm", ["identity", "jacobian"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_rule_on_small_networks(name: str, norm: str, rule: str) -> None:
    for layer in ("conv1", "conv2", "conv3"):
        assert_equal_to_whole_images(
            small_convnet(name).eval(),
            some_images(),
            layer,
            tolerance=1e-11,
            method=rule,
            norm=norm,
        )


def vgg(*, batch_norm: bool) -> nn.Module:
    """VGG-16 with a sixteenth of its feature maps."""
    maps = [4, 4, "M", 8, 8, "M", 16, 16, 16, "M", 32, 32, 32, "M", 32, 32, 32, "M"]
    return VGG(make_layers(maps, batch_norm=batch_norm), init_weights=False).features  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("zfnet", ["conv1", "conv2", "conv5"]),
        ("zfnet_cuda_convnet", ["conv5"]),
        ("alexnet", ["conv1", "conv2", "conv5"]),
        pytest.param("vgg16", ["0", "7", "21"], marks=pytest.mark.slow),
        pytest.param("vgg16_bn", ["10", "40"], marks=pytest.mark.slow),
    ],
)
def test_networks_at_full_size(name: str, layers: list[str]) -> None:
    network = vgg(batch_norm=name.endswith("bn")) if name.startswith("vgg") else narrow(name)
    network = network.double().eval().requires_grad_(False)
    randomise(network.state_dict().items())
    for layer in layers:
        assert_equal_to_whole_images(network, some_images(1, size=224), layer, tolerance=1e-10)


def test_float32() -> None:
    network = narrow("zfnet").eval()
    randomise(network.state_dict().items())
    images = some_images(1, size=224).float()
    assert_equal_to_whole_images(network, images, "conv4", tolerance=1e-5)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("squeezenet1_1", ["features.0", "features.4.expand3x3", "cat_2"]),
        ("resnet18", ["layer1.1.conv2", "layer2.0.downsample.0", "layer2.0.relu_1"]),
        pytest.param("googlenet", ["inception3a.branch2.1.conv", "cat_1"], marks=pytest.mark.slow),
        pytest.param(
            "densenet121", ["features.denseblock2.denselayer2.conv1"], marks=pytest.mark.slow
        ),
        ("mobilenet_v2", ["features.3.conv.2", "features.5.conv.1.0"]),
    ],
)
def test_branching_graphs(name: str, layers: list[str]) -> None:
    kinds = {"googlenet": lambda: torchvision.models.googlenet(init_weights=False)}
    network = built(kinds.get(name) or getattr(torchvision.models, name)).eval()
    for layer in layers:
        node = layer.replace(".", "_") if layer.endswith("relu_1") else layer
        assert_equal_to_whole_images(network, some_images(1, size=64), node, tolerance=1e-9)


class Padded(Small):
    """Branches that reach differently far, and arithmetic that moves zero, as no ReLU does."""

    def __init__(self) -> None:
        super().__init__()
        self.average = nn.AvgPool2d(3, 1, 1)
        self.wide = nn.Conv2d(4, 4, 5, padding=2).double()
        self.pad = nn.ZeroPad2d((2, 1, 1, 2))
        self.last = nn.Conv2d(8, 4, 3, stride=2, dilation=2).double()

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x) + 1
        x = torch.cat([self.average(x) * 2, self.relu(self.wide(x))], 1)
        x = nn.functional.max_pool2d(x, 3, 2, 1, ceil_mode=True)
        return self.last_relu(self.last(self.pad(x)))


def test_borders_of_operations_that_move_zero() -> None:
    assert_equal_to_whole_images(Padded().eval(), some_images(size=21), "last", tolerance=1e-11)


class Flipped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flip(-1)


def test_whole_images_above_a_rule_of_the_users_own() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), Flipped(), nn.Conv2d(4, 4, 3), nn.ReLU()).double()
    rules = {Flipped: lambda module, values: values.flip(-1)}
    images = some_images(1, size=16)
    windows = Deconvnet(network, crops=True, rules=rules)
    whole = Deconvnet(network, crops=False, rules=rules)
    units = units_of("2", whole.forward(images, ["2"]).outputs["2"])
    assert torch.equal(windows.project(images, units).pixels, whole.project(images, units).pixels)


def test_less_work_is_chosen() -> None:
    deconvnet = Deconvnet(narrow("zfnet"))
    shares = {
        layer: found.plan.share if found.plan is not None else None
        for layer, found in deconvnet._geometries.of(
            ["conv1", "conv5", "fc6"], (3, 224, 224)
        ).items()
    }
    assert shares["fc6"] is None
    # One position of conv1; 67² of its 110² for conv5, and less of what is above.
    assert shares["conv1"] == pytest.approx(1 / 110**2)
    assert 0.3 < shares["conv5"] < 0.4
    # A receptive field larger than the image: windows would be more than the image.
    wide = Deconvnet(vgg(batch_norm=False))._geometries.of(["28"], (3, 64, 64))["28"].plan
    assert wide is not None and wide.share > 1


def test_an_image_with_many_units_is_run_once() -> None:
    # Eight units of an image share two passes up: 8 times (1 + 1/4) for them with the whole image,
    # 8 times share and one pass up in crops. A unit of its own takes 2 or 2 × share.
    images = torch.tensor([3, *[1] * 8])
    for share, alone, many in ((0.9, True, True), (1.1, False, True), (1.2, False, False)):
        assert in_crops_is_less_work(share, images).tolist() == [alone, *[many] * 8]


def test_units_in_crops_and_with_whole_images_come_back_in_their_places() -> None:
    network, images = small_convnet("alexnet_like").eval(), some_images(2, size=32)
    plan = Deconvnet(network).crop_plan("conv2", (3, 32, 32))
    # One alone, and many of the other image: the share lies between what is less work for them.
    assert plan is not None and 1.25 / 2 < plan.share < 1
    many = torch.arange(9)
    units = Units("conv2", (many != 4).long(), many % 3, many // 3, many // 3)
    expected = Deconvnet(network, crops=False).project(images, units)
    found = Deconvnet(network).project(images, units)
    assert expected.pixels.flatten(1).any(1).sum() >= 8
    torch.testing.assert_close(found.pixels, expected.pixels)
    torch.testing.assert_close(found.activations, expected.activations)
