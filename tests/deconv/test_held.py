"""Gates, attention, normalisations and smooth rectifiers, beside autograd of changed networks."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3
from torchvision.models.regnet import BlockParams, RegNet
from torchvision.models.shufflenetv2 import ShuffleNetV2
from torchvision.models.swin_transformer import (
    PatchMergingV2,
    SwinTransformer,
    SwinTransformerBlockV2,
)
from torchvision.models.vision_transformer import VisionTransformer

from tests.deconv.autograd_of_network import METHODS, Changed
from tests.deconv.oracles import some_images
from zf_lightning.deconv import Deconvnet, Unit
from zf_lightning.errors import UserError


def expected(
    network: nn.Module, images: Tensor, module: str, method: str, norm: str
) -> tuple[Tensor, Tensor]:
    """The output of a module, and the pixels of all its images together, for a fixed signal."""
    pixels, found = images.clone().requires_grad_(), []
    hook = network.get_submodule(module).register_forward_hook(
        lambda _, inputs, output: found.append(output.clone())
    )
    with Changed(method, norm):
        network(pixels)
    hook.remove()
    (output,) = found
    (signal,) = torch.autograd.grad(output, pixels, seed_of(output))
    return output.detach(), signal


def seed_of(output: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(output.shape, generator=generator, dtype=output.dtype)


def as_maps(value: Tensor, module: nn.Module) -> Tensor:
    """Channels first, as a layer's feature maps are."""
    if value.dim() == 3:
        return value.movedim(-1, 1).unsqueeze(-1)
    return value.movedim(-1, 1) if value.dim() == 4 and isinstance(module, nn.Linear) else value


def check(network: nn.Module, images: Tensor, module: str, method: str, **options: Any) -> None:
    """The whole signal of a layer, from all its units, comes down as the oracle's does."""
    norm = options.pop("norm", "jacobian" if method == "gradient" else "identity")
    output, pixels = expected(network, images, module, method, norm)
    deconvnet = Deconvnet(network, method=method, norm=norm, **options)  # type: ignore[arg-type]
    of = network.get_submodule(module)
    state = deconvnet.forward(images, [module])
    torch.testing.assert_close(state.outputs[module], as_maps(output, of), rtol=1e-9, atol=1e-9)
    found = state.backward(module, as_maps(seed_of(output), of))
    scale = float(pixels.abs().max())
    assert scale > 0
    torch.testing.assert_close(found, pixels, rtol=0, atol=1e-9 * scale)


def made(network: nn.Module) -> nn.Module:
    """In float64 and evaluation mode, with weights that matter everywhere."""
    torch.manual_seed(0)
    network = network.double().eval().requires_grad_(False)
    for name, values in network.state_dict().items():
        if values.is_floating_point():
            noise = torch.randn_like(values)
            if values.dim() > 1:
                values.copy_(noise * (2 / max(1, values[0].numel())) ** 0.5)
            elif name.endswith("running_var"):
                values.copy_(0.5 + noise.abs())
            else:
                values.add_(0.3 * noise)
    return network


class Body(nn.Module):
    """A convolution, something, and another convolution."""

    def __init__(self, something: Callable[[Tensor], Tensor], maps: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, maps, 3, padding=1)
        self.something = something
        self.last = nn.Conv2d(maps, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.something(self.first(x)))


class SqueezeAndExcite(nn.Module):
    def __init__(self, gate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.down, self.gate = nn.Conv2d(4, 4, 1), gate

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.down(x.mean((2, 3), keepdim=True)))


class Attention(nn.Module):
    """Of positions, as it is written by hand, and by PyTorch's function."""

    def __init__(self, by_hand: bool) -> None:
        super().__init__()
        self.by_hand, self.qkv = by_hand, nn.Linear(4, 12)

    def forward(self, x: Tensor) -> Tensor:
        images, maps, height, width = x.shape
        q, k, v = self.qkv(x.flatten(2).transpose(1, 2)).reshape(images, -1, 3, maps).unbind(2)
        if self.by_hand:
            mixed = F.softmax(q @ k.transpose(-2, -1) / maps**0.5, dim=-1) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v)
        return x + mixed.transpose(1, 2).reshape(images, maps, height, width)


class Biased(Attention):
    """The attention weights are computed from a sum of what is held and what depends on queries."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x.flatten(2).transpose(1, 2)).chunk(3, 2)
        scores = q @ k.transpose(1, 2) + q.sum(2, keepdim=True).sigmoid() * q[:, :, :1]
        return x + ((scores * 2).softmax(2) @ v).transpose(1, 2).view_as(x)


class Masked(Attention):
    """A mask is computed from the queries, as the biases of positions of SAM are."""

    def __init__(self, *, by_keyword: bool) -> None:
        super().__init__(by_hand=False)
        self.by_keyword = by_keyword

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x.flatten(2).transpose(1, 2)).chunk(3, 2)
        mask = q @ torch.linspace(-1, 1, 4 * q.shape[1]).to(q).view(4, -1)
        if self.by_keyword:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, mask)
        return x + mixed.transpose(1, 2).view_as(x)


class ByHand(nn.Module):
    """Layer normalisation over feature maps without a function for it."""

    def forward(self, x: Tensor) -> Tensor:
        return x / (x.var(1, keepdim=True, correction=0) + 1e-6).sqrt()


def rolled(x: Tensor) -> Tensor:
    one, other = torch.chunk(x.roll((1, 2), (2, 3)), 2, dim=1)
    return torch.stack([other, one], 1).flatten(1, 2).flip(3)


OPERATIONS: dict[str, Callable[[], Any]] = {
    **{kind.__name__: kind for kind in (nn.SiLU, nn.GELU, nn.Hardswish, nn.Mish, nn.ELU)},
    "Softplus": nn.Softplus,
    "in place": lambda: nn.Sequential(nn.SiLU(inplace=True), nn.Hardswish(inplace=True)),
    "tanh approximation": lambda: nn.GELU(approximate="tanh"),
    "Tanh": nn.Tanh,
    "GroupNorm": lambda: nn.GroupNorm(2, 4),
    "InstanceNorm": lambda: nn.InstanceNorm2d(4, affine=True),
    "LayerNorm": lambda: nn.LayerNorm([4, 8, 8]),
    "a norm by hand": ByHand,
    "normalize": lambda: lambda x: F.normalize(x, dim=1),
    "sigmoid gate": lambda: SqueezeAndExcite(nn.Sigmoid()),
    "hardsigmoid gate": lambda: SqueezeAndExcite(nn.Hardsigmoid(inplace=True)),
    "softmax gate": lambda: SqueezeAndExcite(nn.Softmax(1)),
    "attention": lambda: Attention(by_hand=False),
    "attention with biases of its queries": lambda: Biased(by_hand=True),
    "attention with a mask of its queries": lambda: Masked(by_keyword=False),
    "with a mask by keyword": lambda: Masked(by_keyword=True),
    "sum with a product": lambda: lambda x: torch.addcmul(torch.ones(4, 1, 1), x, x.sigmoid()),
    "attention by hand": lambda: Attention(by_hand=True),
    "permuted": lambda: lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 2, 1),
    "rolled, in chunks": lambda: rolled,
    "gate after a rectifier": lambda: lambda x: x * F.gelu(x.flip(1)),
    "square of a rectifier": lambda: lambda x: 2 * F.relu(x) ** 2 + 1,
    "gate of the shape of its values": lambda: (
        lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)).view(len(x), 4, 1, 1).expand_as(x)
    ),
    "split": lambda: lambda x: torch.cat(x.split([1, 3], 1)[::-1], 1),
    "upsampling": lambda: partial(F.interpolate, scale_factor=1.5, mode="bilinear"),
    "nearest": lambda: nn.Upsample(scale_factor=2),
    "shuffled pixels": lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.PixelShuffle(2)),
    "reflection": lambda: nn.ReflectionPad2d(2),
    "replication": lambda: partial(F.pad, pad=(1, 2, 0, 1), mode="replicate"),
    "circular": lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
    "transposed": lambda: nn.ConvTranspose2d(4, 4, 2, 2),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_goes_down_as_defined(name: str, method: str) -> None:
    torch.manual_seed(0)
    network = made(Body(OPERATIONS[name]()))
    check(network, some_images(2, size=8), "last", method)


@pytest.mark.parametrize("method", ["deconvnet", "guided"])
@pytest.mark.parametrize(
    "name", ["GroupNorm", "InstanceNorm", "LayerNorm", "a norm by hand", "normalize", "of squares"]
)
def test_jacobian_takes_any_normalisation_by_its_derivative(name: str, method: str) -> None:
    squares = lambda x: x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)  # noqa: E731
    network = made(Body(OPERATIONS[name]() if name in OPERATIONS else squares))
    check(network, some_images(2, size=8), "last", method, norm="jacobian")


@pytest.mark.parametrize("slopes", [1, 4])
def test_prelu_is_a_leaky_relu_with_its_slopes(slopes: int) -> None:
    network, images = made(Body(nn.PReLU(slopes, 0.2))), some_images(2, size=8)
    network.something.weight.fill_(0.2)
    leaky = Body(nn.LeakyReLU(0.2)).double()
    leaky.load_state_dict(network.state_dict(), strict=False)
    for method in METHODS:
        found = [
            (state := Deconvnet(one, method=method).forward(images, ["last"])).backward(  # type: ignore[arg-type]
                "last", seed_of(state.outputs["last"])
            )
            for one in (network, leaky)
        ]
        torch.testing.assert_close(*found)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, list[str]]] = {
    "convnext": (
        lambda: ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=3),
        32,
        ["features.1.0.block.0", "features.1.0.block.3", "features.3.0.block.5", "classifier.2"],
    ),
    "vit": (
        lambda: VisionTransformer(32, 16, 2, 2, 8, 8, num_classes=3),
        32,
        ["encoder.layers.encoder_layer_0.mlp.0", "heads.head"],
    ),
    "swin": (
        lambda: SwinTransformer([4, 4], 8, [1, 2], [2, 2], [2, 2], num_classes=3),
        32,
        ["features.1.0.mlp.3", "features.2.reduction", "head"],
    ),
    "swin v2": (
        lambda: SwinTransformer(
            [4, 4],
            8,
            [2],
            [2],
            [4, 4],
            num_classes=3,
            block=SwinTransformerBlockV2,
            downsample_layer=PatchMergingV2,
        ),
        32,
        ["features.1.1.mlp.0", "head"],
    ),
    "maxvit": (
        lambda: torchvision.models.MaxVit((32, 32), 8, 2, [8], [1], 4, 0.0, num_classes=3),
        32,
        ["blocks.0.layers.0.layers.MBconv.layers.conv_c", "classifier.5"],
    ),
    "efficientnet": (
        lambda: EfficientNet([MBConvConfig(2, 3, 2, 8, 8, 1, 1.0, 1.0)], 0.0, num_classes=3),
        16,
        ["features.1.0.block.3.0", "classifier.1"],
    ),
    "mobilenet_v3": (
        lambda: MobileNetV3(
            [InvertedResidualConfig(8, 3, 16, 8, True, "HS", 1, 1, 1.0)], 8, num_classes=3
        ),
        16,
        ["features.1.block.3.0", "classifier.3"],
    ),
    "shufflenet": (
        lambda: ShuffleNetV2([1, 1, 1], [8, 16, 16, 16, 16], num_classes=3),
        32,
        ["stage2.0.branch2.5", "fc"],
    ),
    "regnet_y": (
        lambda: RegNet(BlockParams([1], [8], [4], [1.0], [2], 0.25), num_classes=3, stem_width=8),
        16,
        ["trunk_output.block1.block1-0.f.c.0", "fc"],
    ),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_torchvision_projects(name: str, method: str) -> None:
    make, size, layers = NETWORKS[name]
    network, images = made(make()), some_images(2, size=size)
    for layer in layers:
        check_layer(network, images, layer, method)


def check_layer(network: nn.Module, images: Tensor, layer: str, method: str) -> None:
    """As `check`, where what leaves a layer's batch normalisation and ReLU is meant."""
    deconvnet = Deconvnet(network, method=method)  # type: ignore[arg-type]
    node = deconvnet.graph.node(layer)
    if node.op == "call_module":
        check(network, images, str(node.target), method)


def test_units_of_positions_and_their_strongest_images() -> None:
    make, size, _ = NETWORKS["vit"]
    network, images, layer = (
        made(make()),
        some_images(3, size=size),
        "encoder.layers.encoder_layer_1.mlp.0",
    )
    deconvnet = Deconvnet(network)
    shape = deconvnet.shapes([layer], (size, size))[layer]
    # Eight hidden units at a class token and four patches.
    assert shape == (8, 5, 1)
    found = deconvnet.top_activations([images], layers=layer, k=1, keep_images=True)
    chosen, units = found.units(layer, 3)
    projected = deconvnet.project(chosen, units)
    maps = deconvnet.feature_maps(images, [layer])[layer]
    assert projected.activations[0] == pytest.approx(maps[:, 3].max().item())
    assert projected.pixels.any()
    field = deconvnet.receptive_fields([layer], (size, size))[layer]
    assert field.size == (size, size)


def test_a_gate_that_is_an_activation_is_refused_and_gradient_takes_it() -> None:
    network, images = made(Body(lambda x: x + torch.sigmoid(x))), some_images(1, size=8)
    unit = Unit(0, "last", 1, 2, 2)
    with pytest.raises(UserError, match=r"add takes what sigmoid gives.*rules=\{sigmoid"):
        Deconvnet(network).project(images, [unit])
    check(network, images, "last", "gradient")
    only = made(Body(nn.Sigmoid()))
    with pytest.raises(UserError, match="Nothing leads down from last"):
        Deconvnet(only).project(images, [unit])


def test_a_product_without_a_gate_is_refused_and_gradient_takes_it() -> None:
    network, images = made(Body(lambda x: x * x.flip(1))), some_images(1, size=8)
    with pytest.raises(UserError, match="mul of two values from the image, neither of which is a"):
        Deconvnet(network).project(images, [Unit(0, "last", 1, 2, 2)])
    check(network, images, "last", "gradient")


class Branching(nn.Conv2d):
    """Pads by its input's size, as EfficientNet does in timm: torch.fx cannot follow it."""

    def forward(self, x: Tensor) -> Tensor:
        over = -x.shape[-1] % self.stride[0]
        if over > 0:
            x = F.pad(x, (0, over, 0, over))
        return super().forward(x)


@pytest.mark.parametrize("method", METHODS)
def test_modules_that_cannot_be_traced_are_run_call_by_call(method: str) -> None:
    network = made(Body(nn.Sequential(Branching(4, 4, 2, 2), nn.SiLU())))
    deconvnet = Deconvnet(network)
    assert deconvnet.layers == ("first", "something.0", "last")
    for layer in ("something.0", "last"):
        check(network, some_images(2, size=9), layer, method)


def test_a_first_convolution_that_cannot_be_traced_says_how_many_channels_an_image_has() -> None:
    network = nn.Sequential(Branching(2, 8, 2, 2), nn.SiLU(), nn.Conv2d(8, 3, 3)).double()
    deconvnet = Deconvnet(network)
    assert deconvnet.shapes(["2"], (12, 12)) == {"2": (3, 4, 4)}
    assert deconvnet.find_layers("conv") == ["0", "2"]


def test_a_tensor_changed_in_place_under_another_name_is_refused() -> None:
    class InPlace(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x.clone()
            if x.shape[-1] > 3:
                y.mul_(2)
            return y

    network = made(Body(InPlace()))
    with pytest.raises(UserError, match="changed in place and then"):
        Deconvnet(network).project(some_images(1, size=8), [Unit(0, "last", 1, 2, 2)])


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_what_a_network_is_wrapped_in_is_taken_off(wrap: Any) -> None:
    network, images = made(Body(nn.SiLU())), some_images(1, size=8)
    unit = Unit(0, "last", 1, 2, 2)
    found = Deconvnet(wrap(network)).project(images, [unit])
    assert torch.equal(found.pixels, Deconvnet(network).project(images, [unit]).pixels)
