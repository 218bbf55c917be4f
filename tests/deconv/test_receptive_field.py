"""Receptive fields: the paper's arithmetic, and what gradients say."""

import pytest
import torch
from torch import nn

from tests.deconv.published import narrow
from zf_lightning.deconv import Deconvnet, Window

PATH = (
    "conv1", "conv1_pool", "conv2", "conv2_pool", "conv3", "conv4", "conv5", "conv5_pool"
)  # fmt: skip
ZFNET_SIZES = (7, 11, 27, 43, 75, 107, 139, 171)


@pytest.mark.parametrize(
    ("name", "sizes", "jumps", "offset"),
    [
        ("zfnet", ZFNET_SIZES, (2, 4, 8, 16, 16, 16, 16, 32), -49),
        ("alexnet", (11, 19, 51, 67, 99, 131, 163, 195), (4, 8, 8, 16, 16, 16, 16, 32), -66),
        ("zfnet_cuda_convnet", ZFNET_SIZES, (2, 4, 8, 16, 16, 16, 16, 32), -48),
    ],
)
def test_published_arithmetic(
    name: str, sizes: tuple[int, ...], jumps: tuple[int, ...], offset: int
) -> None:
    fields = Deconvnet(narrow(name)).receptive_fields(PATH, (224, 224))
    assert tuple(fields[layer].size for layer in PATH) == tuple((size, size) for size in sizes)
    assert tuple(fields[layer].jump for layer in PATH) == tuple((jump, jump) for jump in jumps)
    assert fields["conv5_pool"].offset == (offset, offset)
    assert fields["conv5"].map_size == (13, 13)


def test_windows_of_zfnet() -> None:
    fields = Deconvnet(narrow("zfnet")).receptive_fields(["conv1", "conv5", "fc6"], (224, 224))
    assert fields["conv1"].window(0, 3) == Window(-1, 5, 7, 7)
    assert fields["conv1"].clipped_window(0, 3) == Window(0, 5, 6, 7)
    # The middle unit of conv5 is in the middle of the image, up to half a pixel.
    assert fields["conv5"].window(6, 6) == Window(47, 47, 139, 139)
    assert fields["conv5"].clipped_window(12, 0) == Window(143, 0, 81, 90)
    assert fields["fc6"].clipped_window() == Window(0, 0, 224, 224)
    assert fields["fc6"].exceeds_input and not fields["conv5"].exceeds_input
    assert fields["fc6"].tile_size == (224, 224)
    assert fields["conv5"].tile_size == (139, 139)


def test_tile_is_the_image_where_the_receptive_field_exceeds_it() -> None:
    field = Deconvnet(narrow("zfnet_small")).receptive_fields(["conv5"], (112, 112))["conv5"]
    assert field.exceeds_input and field.tile_size == (112, 112)
    tops, lefts = field.tiles(torch.tensor([0, 5]), torch.tensor([2, 0]))
    assert tops.tolist() == lefts.tolist() == [0, 0]


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.small = nn.Conv2d(3, 2, 1, stride=2)
        self.wide = nn.Conv2d(3, 2, (3, 7), stride=2, padding=(1, 2), dilation=(2, 1))
        self.last = nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        small, wide = self.small(x), self.wide(torch.nn.functional.pad(x, (1, 0, 1, 1)))
        both = torch.cat([small, wide], 1)
        return self.last(torch.relu(both)) + small


def seen_by(output: torch.Tensor, pixels: torch.Tensor, row: int, column: int) -> Window:
    """The smallest window that holds all pixels with a gradient."""
    (gradient,) = torch.autograd.grad(output[:, :, row, column].sum(), pixels, retain_graph=True)
    seen = gradient.ne(0).any(0).any(0)
    rows, columns = seen.any(1).nonzero()[:, 0].tolist(), seen.any(0).nonzero()[:, 0].tolist()
    return Window(rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)


@pytest.mark.parametrize("name", ["zfnet", "alexnet", "zfnet_cuda_convnet"])
def test_agrees_with_gradients(name: str) -> None:
    model = narrow(name)
    fields = Deconvnet(model).receptive_fields(PATH, (224, 224))
    pixels = torch.ones(1, 3, 224, 224, dtype=torch.float64, requires_grad=True)
    values = pixels
    for layer, module in model.named_children():
        # Means instead of maxima and positive weights: whatever is seen has a gradient.
        if isinstance(module, nn.Conv2d):
            module = module.double()
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        elif isinstance(module, nn.MaxPool2d):
            module = nn.AvgPool2d(
                module.kernel_size, module.stride, module.padding, module.ceil_mode
            )
        elif not isinstance(module, nn.ZeroPad2d):
            continue
        values = module(values)
        if layer in fields:
            last, middle = values.shape[2] - 1, values.shape[2] // 2
            for at in [(0, 0), (0, last), (last, middle), (middle, middle)]:
                assert seen_by(values, pixels, *at) == fields[layer].clipped_window(*at), layer
        if layer == PATH[-1]:
            return


def test_agrees_with_gradients_where_branches_meet() -> None:
    model = Branches().double()
    for weights in model.parameters():
        nn.init.constant_(weights, 0.01)
    layers = ["small", "cat", "last", "add"]
    deconvnet = Deconvnet(model)
    fields = deconvnet.receptive_fields(layers, (32, 32))
    assert fields["cat"].size == (5, 7) and fields["add"].size == (9, 11)
    pixels = torch.ones(1, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    output = model(pixels)
    for at in [(0, 0), (7, 9), (13, 13)]:
        assert seen_by(output, pixels, *at) == fields["add"].clipped_window(*at)
    # At the border it would see a row of `cat` that is not there: a pixel row less.
    window = fields["add"].clipped_window(15, 15)
    assert seen_by(output, pixels, 15, 15) == window._replace(height=window.height - 1)


@pytest.mark.parametrize(
    ("pool", "size", "jump"),
    [
        (nn.AvgPool2d(3, 2, 1), 5, 2),
        (nn.AdaptiveAvgPool2d(6), 4, 2),
        (nn.AdaptiveMaxPool2d(6), 4, 2),
        (nn.AdaptiveAvgPool2d(1), 14, 12),
        # Windows that differ in size are taken to see everything.
        (nn.AdaptiveAvgPool2d(5), 14, 0),
        (nn.AdaptiveMaxPool2d(5), 14, 0),
        (nn.AdaptiveAvgPool2d(24), 14, 0),
    ],
)
def test_averages_and_adaptive_pools(pool: nn.Module, size: int, jump: int) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), pool, nn.BatchNorm2d(2), nn.LeakyReLU()).double()
    field = Deconvnet(model).receptive_fields(["3"], (14, 14))["3"]
    assert (field.size, field.jump) == ((size, size), (jump, jump))
    assert field.map_size == (pool(torch.zeros(1, 1, 12, 12)).shape[2],) * 2


def test_units_above_branches_of_different_stride_are_taken_to_see_everything() -> None:
    class Uneven(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.coarse = nn.Conv2d(3, 2, 2, stride=2)
            self.fine = nn.Conv2d(3, 2, 7)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.coarse(x) + self.fine(x)

    field = Deconvnet(Uneven()).receptive_fields(["add"], (12, 12))["add"]
    assert (field.size, field.jump, field.offset) == ((12, 12), (0, 0), (0, 0))
    assert field.map_size == (6, 6)
