"""Small networks, and projections of their units by autograd, which shares no code with ours."""

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zf_lightning.deconv import Units
from zf_lightning.models import ConvNet

#: Overlapping pools that hang over the border, contrast normalisation, groups, uneven strides.
NETWORKS: dict[str, dict[str, Any]] = {
    "zfnet_like": {
        "conv1": {"maps": 6, "kernel": 7, "stride": 2, "padding": 1, "pool": "ceil", "norm": True},
        "conv2": {"maps": 8, "kernel": 3, "stride": 2, "pool": "ceil", "norm": True},
        "conv3": {"maps": 5, "kernel": 3, "padding": 1, "pool": "ceil"},
    },
    "alexnet_like": {
        "conv1": {"maps": 6, "kernel": 5, "stride": 4, "padding": 2, "pool": "floor", "norm": True},
        "conv2": {"maps": 8, "kernel": 3, "padding": 1, "groups": 2},
        "conv3": {"maps": 4, "kernel": 3, "padding": 1, "groups": 4},
    },
    "cuda_convnet_like": {
        "conv1": {"maps": 4, "kernel": 7, "stride": 2, "ceil_mode": True, "pool": "ceil"},
        "conv2": {"maps": 6, "kernel": 5, "stride": 2, "ceil_mode": True},
        "conv3": {"maps": 4, "kernel": 1},
    },
}


class Small(nn.Module):
    """Two convolutions; what happens around them is a subclass's business."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.last_relu = nn.ReLU()
        # Most units are alive.
        nn.init.constant_(self.first.bias, 0.5)
        nn.init.constant_(self.second.bias, 0.5)
        self.double()


def small_convnet(name: str, *, seed: int = 3, input_size: int = 41) -> ConvNet:
    """A float64 ConvNet with random weights and biases."""
    pools = {
        ceil: {"kernel": 3, "stride": 2, "ceil_mode": ceil == "ceil"} for ceil in ("ceil", "floor")
    }
    convs = {
        layer: {**options, **({"pool": pools[options["pool"]]} if "pool" in options else {})}
        for layer, options in NETWORKS[name].items()
    }
    network = ConvNet(
        convs,
        {"fc4": {"units": 7, "dropout": 0.5}},
        classes=5,
        input_size=input_size,
        # A large alpha: the derivative of the normalisation must not be close to the identity.
        contrast_normalisation={"size": 5, "alpha": 0.5, "beta": 0.75, "k": 2.0},
        output="fc5",
    ).double()
    generator = torch.Generator().manual_seed(seed)
    for weights in network.parameters():
        scale = 0.1 if weights.dim() == 1 else (2 / weights[0].numel()) ** 0.5
        values = torch.randn(weights.shape, generator=generator, dtype=torch.float64)
        # Biases lean to the positive: most units of most layers are alive.
        weights.data.copy_(scale * values + (0.3 if weights.dim() == 1 else 0))
    return network


def some_images(number: int = 2, *, seed: int = 0, size: int = 41) -> Tensor:
    """Float64 images `[N, 3, size, size]` of noise."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, 3, size, size, generator=generator, dtype=torch.float64)


class _RectifyingReLU(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor, guided: bool, top: float) -> Tensor:
        context.guided, context.top = guided, top
        context.save_for_backward(values)
        return values.clamp(0, top)

    @staticmethod
    def backward(context: Any, signal: Tensor) -> tuple[Tensor, None, None]:
        (values,) = context.saved_tensors
        signal = torch.where(signal > 0, signal, 0)
        if context.guided:
            signal = signal * ((values > 0) & (values < context.top))
        return signal, None, None


class _PassingNormalisation(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor, module: nn.LocalResponseNorm) -> Tensor:
        return F.local_response_norm(values, module.size, module.alpha, module.beta, module.k)

    @staticmethod
    def backward(context: Any, signal: Tensor) -> tuple[Tensor, None]:
        return signal, None


def projection_by_autograd(
    network: nn.Sequential,
    images: Tensor,
    image: int,
    layer: str,
    unit: tuple[int, ...],
    *,
    rule: str = "deconvnet",
    norm: str = "identity",
) -> tuple[Tensor, Tensor]:
    """The projection `[3, H, W]` of a unit of a chain, and its activation."""
    pixels = images[image : image + 1].clone().requires_grad_()
    values = pixels
    names = [name for name, _ in network.named_children()]
    last = f"{layer}_relu" if f"{layer}_relu" in names else layer
    for name, module in network.named_children():
        if isinstance(module, nn.ReLU):
            if rule == "gradient":
                values = F.relu(values)
            else:
                values = _RectifyingReLU.apply(values, rule == "guided", inf)
        elif isinstance(module, nn.LocalResponseNorm) and norm == "identity":
            values = _PassingNormalisation.apply(values, module)
        elif not isinstance(module, nn.Dropout):
            values = module(values)
        if name == last:
            break
    seed = torch.zeros_like(values)
    seed[(0, *unit)] = values.detach()[(0, *unit)]
    (projection,) = torch.autograd.grad(values, pixels, seed)
    return projection[0], values.detach()[(0, *unit)]


def outputs_by_autograd(
    network: nn.Module, pixels: Tensor, layers: Mapping[str, tuple[str, float | None]], *, rule: str
) -> dict[str, Tensor]:
    """Outputs of layers of any network in evaluation mode, whose ReLUs go back as `rule` says.

    Args:
        layers: for each layer its module, and where the ReLU after it is cut off (infinity for
            nn.ReLU, 6 for nn.ReLU6), or None if no ReLU follows.
    """
    functional_hardtanh = F.hardtanh

    def rectified(values: Tensor, top: float) -> Tensor:
        if rule == "gradient":
            return torch.relu(values) if top == inf else functional_hardtanh(values, 0, top)
        return _RectifyingReLU.apply(values, rule == "guided", top)

    def relu(values: Tensor, inplace: bool = False) -> Tensor:
        return rectified(values, inf)

    def hardtanh(values: Tensor, low: float, top: float, inplace: bool = False) -> Tensor:
        assert low == 0
        return rectified(values, top)

    outputs: dict[str, Tensor] = {}
    hooks = [
        network.get_submodule(module).register_forward_hook(
            lambda _, inputs, output, layer=layer, top=top: outputs.__setitem__(
                layer, output.clone() if top is None else rectified(output, top)
            )
        )
        for layer, (module, top) in layers.items()
    ]
    # The modules nn.ReLU and nn.ReLU6 call these functions too.
    with mock.patch.multiple(F, relu=relu, hardtanh=hardtanh):
        network.eval()(pixels)
    for hook in hooks:
        hook.remove()
    return outputs


def randomise(tensors: Iterable[tuple[str, Tensor]], *, seed: int = 0) -> None:
    """Fill weights so that signals keep their size, and batch statistics so that scales matter."""
    generator = torch.Generator().manual_seed(seed)
    for name, values in tensors:
        if not values.is_floating_point():
            values.zero_()
            continue
        noise = torch.randn(values.shape, generator=generator, dtype=values.dtype)
        if values.dim() > 1:
            values.copy_(noise * (2 / values[0].numel()) ** 0.5)
        elif name.endswith("running_var"):
            values.copy_(0.5 + noise.abs())
        elif name.endswith("weight"):
            # Of batch normalisation; some turn the sign.
            values.copy_(1 + 0.6 * noise)
        else:
            values.copy_(0.1 * noise)


def chain(between: nn.Module | None = None, *, channels: int = 3) -> nn.Sequential:
    """Two convolutions with ReLUs, float64, and something in between."""
    torch.manual_seed(0)
    first = nn.Conv2d(channels, 5, 3, padding=1)
    last = nn.Conv2d(5, 4, 3, padding=1)
    nn.init.constant_(last.bias, 1.0)
    return nn.Sequential(first, nn.ReLU(), between or nn.Identity(), last, nn.ReLU()).double()


def every_unit(layer: str, shape: tuple[int, ...]) -> Units:
    """All units of a layer with maps of a shape, `[C, H, W]`, in the first image."""
    maps, rows, columns = (
        values.flatten()
        for values in torch.meshgrid(*(torch.arange(size) for size in shape), indexing="ij")
    )
    return Units(layer, torch.zeros_like(maps), maps, rows, columns)
