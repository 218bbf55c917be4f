"""Crops where channels are last, in groups or shuffled: the same as with whole images."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.deconv.autograd_of_network import METHODS
from tests.deconv.oracles import some_images
from zf_lightning.deconv import Deconvnet, Unit


class Around(nn.Module):
    """A convolution, something, a wider view of it beside a narrow one, and a convolution."""

    def __init__(self, something: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.beside, self.linear = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 4)
        self.norm, self.something = nn.LayerNorm(4), something
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        return self.last(x + self.beside(self.something(x)))


def channels_last(network: Any) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        y = x.permute(0, 2, 3, 1)
        one, other = network.linear(network.norm(y)).chunk(2, -1)
        y = y + torch.cat([F.gelu(one) * other, F.silu(other)], -1)
        return y.permute(0, 3, 1, 2).contiguous()

    return run


def shuffled(x: Tensor) -> Tensor:
    images, maps, height, width = x.shape
    one, other = (
        x.view(images, 2, maps // 2, height, width)
        .transpose(1, 2)
        .reshape(images, maps, height, width)
        .chunk(2, 1)
    )
    return torch.cat([F.relu(other), one], 1)


def normalised(x: Tensor) -> Tensor:
    x = x - x.mean(1, keepdim=True)
    return x / torch.sqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)


def in_groups(x: Tensor) -> Tensor:
    one, other = x.unflatten(1, (2, 2)).unbind(1)
    return torch.stack([other * 2, one], 2).flatten(1, 2)


def unit_length(x: Tensor) -> Tensor:
    return F.normalize(x + 1, dim=1) + x[:, [1, 0, 3, 2]]


SOMETHING: dict[str, Callable[[Tensor], Tensor] | None] = {
    "channels last": None,
    "shuffled": shuffled,
    "normalised by hand": normalised,
    "in groups": in_groups,
    "unit length": unit_length,
}


def made(name: str) -> Around:
    network = Around(SOMETHING[name] or torch.neg)
    if name == "channels last":
        network.something = channels_last(network)
    return network


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SOMETHING)
def test_crops_equal_whole_images(name: str, method: str) -> None:
    network, images = made(name), some_images(2, size=20)
    options: Any = {"method": method, "norm": "jacobian" if method == "gradient" else "identity"}
    units = [Unit(0, "last", 1, 5, 5), Unit(1, "last", 2, 0, 4), Unit(0, "last", 3, 9, 9)]
    in_crops, whole = (Deconvnet(network, crops=crops, **options) for crops in (True, False))
    assert in_crops.crop_plan("last", (3, 20, 20)) is not None
    found, expected = (one.project(images, units) for one in (in_crops, whole))
    assert expected.pixels.flatten(1).any(1).all()
    torch.testing.assert_close(found.pixels, expected.pixels, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.activations, expected.activations)


@pytest.mark.parametrize(
    "something",
    [
        lambda x: x.view(-1, 4, 10, 10) * 2,
        lambda x: x.permute(0, 3, 1, 2).permute(0, 2, 3, 1) / x.shape[-1],
        lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
        lambda x: x.flip(3),
        lambda x: x.permute(0, 1, 3, 2),
        lambda x: F.layer_norm(x, [10]),
        lambda x: torch.softmax(x.permute(0, 2, 3, 1), 1).permute(0, 3, 1, 2) * x,
        lambda x: F.linear(x, torch.eye(10, dtype=x.dtype)),
    ],
)
def test_what_moves_positions_or_sees_others_is_seen_whole(something: Any) -> None:
    network, images = Around(something), some_images(2, size=20)
    unit = Unit(0, "last", 1, 0, 7)
    found, whole = (
        Deconvnet(network, method="gradient", norm="jacobian", crops=crops).project(images, [unit])
        for crops in (True, False)
    )
    assert Deconvnet(network).crop_plan("last", (3, 20, 20)) is None
    torch.testing.assert_close(found.pixels, whole.pixels)


def test_channels_that_are_made_of_pixels() -> None:
    network = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 4, 3)).double()
    deconvnet = Deconvnet(network)
    assert deconvnet.shapes(["1"], (8, 8)) == {"1": (4, 2, 2)}
    assert deconvnet.project(some_images(1, size=8), [Unit(0, "1", 1, 0, 1)]).pixels.any()


def test_windows_of_an_image_stand_below_each_other() -> None:
    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.qkv, self.last = nn.Linear(3, 5), nn.Conv2d(5, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            images = x.shape[0]
            windows = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 4, 5, 1).flatten(3, 4)
            mixed = self.qkv(windows.reshape(4 * images, 16, 3))
            return self.last(mixed.mean(1).view(images, 2, 2, 5).permute(0, 3, 1, 2))

    network, images = Windows().double(), some_images(2, size=8)
    deconvnet = Deconvnet(network)
    assert deconvnet.shapes(["qkv"], (8, 8)) == {"qkv": (5, 64, 1)}
    # The third position of the third window: the first row of the left lower one.
    projected = deconvnet.project(images, [Unit(1, "qkv", 2, 2 * 16 + 2)])
    expected = images[1, :, 4, 2] @ network.qkv.weight[2] + network.qkv.bias[2]
    torch.testing.assert_close(projected.activations[0], expected.detach())
    pixels = torch.zeros_like(images[1])
    pixels[:, 4, 2] = network.qkv.weight[2] * expected
    torch.testing.assert_close(projected.pixels[0], pixels.detach())
    maps = deconvnet.feature_maps(images, ["qkv"])["qkv"]
    torch.testing.assert_close(maps[1, 2, 34, 0], expected.detach())
