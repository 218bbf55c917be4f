"""Torchvision's networks: equal to autograd, or refused with what has no rule."""

from collections.abc import Callable
from math import inf

import pytest
import torch
import torchvision
from torch import nn

from tests.deconv.oracles import outputs_by_autograd, some_images
from tests.deconv.published import built
from zf_lightning.deconv import Deconvnet, Unit

#: For each layer the module whose output is meant, and where the ReLU after that is cut off, if
#: there is one. 64 pixels are about the least that all of them accept.
NETWORKS: dict[str, tuple[Callable[..., nn.Module], dict[str, tuple[str, float | None]]]] = {
    # One position at its pools' end, spread over 6×6.
    "alexnet": (
        torchvision.models.alexnet,
        {"features.3": ("features.3", inf), "classifier.6": ("classifier.6", None)},
    ),
    # 2×2 positions, spread over 7×7.
    "vgg11": (
        torchvision.models.vgg11,
        {"features.8": ("features.8", inf), "classifier.6": ("classifier.6", None)},
    ),
    "vgg11_bn": (
        torchvision.models.vgg11_bn,
        {"features.4": ("features.5", inf), "classifier.3": ("classifier.3", inf)},
    ),
    "squeezenet1_1": (
        torchvision.models.squeezenet1_1,
        {"features.3.expand3x3": ("features.3.expand3x3", inf), "flatten": ("", None)},
    ),
    "resnet18": (
        torchvision.models.resnet18,
        {
            "layer1.0.conv1": ("layer1.0.bn1", inf),
            "layer1.1.conv2": ("layer1.1.bn2", None),
            "fc": ("fc", None),
        },
    ),
    "resnet50": (
        torchvision.models.resnet50,
        {"layer2.0.downsample.0": ("layer2.0.downsample.1", None), "fc": ("fc", None)},
    ),
    "googlenet": (
        lambda: torchvision.models.googlenet(transform_input=True, init_weights=False),
        {"inception3a.branch2.1.conv": ("inception3a.branch2.1.bn", inf), "fc": ("fc", None)},
    ),
    "densenet121": (
        torchvision.models.densenet121,
        {
            "features.denseblock1.denselayer2.conv1": (
                "features.denseblock1.denselayer2.norm2",
                inf,
            ),
            "classifier": ("classifier", None),
        },
    ),
    "mobilenet_v2": (
        torchvision.models.mobilenet_v2,
        {
            "features.2.conv.1.0": ("features.2.conv.1.1", 6.0),
            "features.3.conv.2": ("features.3.conv.3", None),
            "classifier.1": ("classifier.1", None),
        },
    ),
    # Not one of those that were asked for; it takes its average with x.mean([2, 3]).
    "mnasnet0_5": (
        torchvision.models.mnasnet0_5,
        {"layers.3": ("layers.4", inf), "classifier.1": ("classifier.1", None)},
    ),
}


#: Second ones of a kind.
SLOW = ("vgg11_bn", "densenet121", "resnet50", "mnasnet0_5")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in NETWORKS],
)
def test_equals_autograd(name: str) -> None:
    kind, layers = NETWORKS[name]
    network, images = built(kind), some_images(size=64)
    which = torch.tensor([1, 0])
    for rule in ("gradient", "deconvnet"):
        deconvnet = Deconvnet(network, method=rule, norm="jacobian")  # type: ignore[arg-type]
        recording = deconvnet.forward(images, list(layers))
        pixels = images.clone().requires_grad_()
        outputs = outputs_by_autograd(network, pixels, layers, rule=rule)
        for layer, output in outputs.items():
            torch.testing.assert_close(recording.outputs[layer], output.detach())
            generator = torch.Generator().manual_seed(2)
            signal = torch.randn(output.shape, generator=generator, dtype=torch.float64)
            (expected,) = torch.autograd.grad(output, pixels, signal, retain_graph=True)
            found = recording.backward(layer, signal[which], which)[which]
            scale = float(expected.abs().max())
            assert 0 < scale < inf
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-8 * scale)


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "densenet121", "mobilenet_v2"])
def test_no_energy_outside_the_receptive_field(name: str) -> None:
    kind, layers = NETWORKS[name]
    deconvnet, images = Deconvnet(built(kind)), some_images(1, size=64)
    layer = next(iter(layers))
    # The strongest unit of the upper left corner.
    maps = deconvnet.forward(images, [layer]).outputs[layer][0, :, :2, :2]
    at = [int(number) for number in torch.unravel_index(maps.argmax(), maps.shape)]
    found = deconvnet.project(images, [Unit(0, layer, *at)])
    window = deconvnet.receptive_fields([layer], (64, 64))[layer].clipped_window(*at[1:])
    assert window.height * window.width < 64 * 64
    outside = found.pixels[0].clone()
    outside[
        :, window.top : window.top + window.height, window.left : window.left + window.width
    ] = 0
    assert found.pixels.any() and not outside.any()
