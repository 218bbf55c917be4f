"""What people do in a notebook: each comes out right, or as one clear sentence."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.deconv.oracles import chain, every_unit, some_images
from zf_lightning.deconv import Deconvnet, Unit, Units
from zf_lightning.errors import UserError

UNIT = Unit(image=0, layer="3", feature_map=1, row=2, column=2)


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_copies_project_the_same(copied: Any, used: bool) -> None:
    images, deconvnet = some_images(1, size=7), Deconvnet(chain(), method="guided", batch_size=3)
    if used:
        deconvnet.project(images, [UNIT])
    other = copied(deconvnet)
    assert other.layers == deconvnet.layers and other.batch_size == 3
    assert other.graph.network is not deconvnet.graph.network
    expected = deconvnet.project(images, [UNIT]).pixels
    assert torch.equal(other.project(images, [UNIT]).pixels, expected)


def test_no_units() -> None:
    images, deconvnet = some_images(2, size=7), Deconvnet(chain())
    assert deconvnet.project(images, []).pixels.shape == (0, 3, 7, 7)
    with pytest.raises(UserError, match="no units"):
        deconvnet.project_windows(images, [])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (some_images(1, size=7).float(), r"images are torch.float32, but the network is torch.fl"),
        (torch.zeros(1, 3, 7, 7, dtype=torch.uint8), "Images are float"),
        (torch.zeros(3, 7, 7, dtype=torch.float64), "Images are float"),
    ],
)
def test_images_of_another_kind(images: Tensor, message: str) -> None:
    deconvnet = Deconvnet(chain())
    with pytest.raises(UserError, match=message):
        deconvnet.project(images, [UNIT])
    with pytest.raises(UserError, match=message):
        deconvnet.top_activations([images], layers="3")


def test_images_on_another_device() -> None:
    images = torch.zeros(1, 3, 7, 7, dtype=torch.float64, device="meta")
    with pytest.raises(UserError, match="images are on meta, but the network is on cpu"):
        Deconvnet(chain()).project(images, [UNIT])


def test_images_that_are_too_small() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU()).double()
    with pytest.raises(UserError, match=r"Node _?0 \(module 0, Conv2d\) cannot be run: .*Kernel"):
        Deconvnet(network).project(some_images(1, size=3), [Unit(0, "0", 1)])
    with pytest.raises(UserError, match=r"Images \[1, 3, 3, 3\] cannot go through the network"):
        Deconvnet(network).top_activations([some_images(1, size=3)])


def test_the_input_is_no_layer() -> None:
    deconvnet = Deconvnet(chain())
    name = deconvnet.graph.input.name
    with pytest.raises(UserError, match=f"no layer {name}"):
        deconvnet.find_layers(name)


def test_positions_are_whole_numbers() -> None:
    deconvnet, images = Deconvnet(chain()), some_images(1, size=7)
    with pytest.raises(UserError, match="whole numbers"):
        deconvnet.project(images, [Unit(0, "3", 1, 2.5, 2)])  # type: ignore[arg-type]
    numbers = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(UserError, match="whole numbers"):
        deconvnet.project(images, Units("3", numbers, numbers, numbers + 0.5, numbers))


def test_bfloat16_is_warned_of() -> None:
    network, images = chain().bfloat16(), some_images(1, size=7).bfloat16()
    with pytest.warns(UserWarning, match="bfloat16"):
        Deconvnet(network).project(images, [UNIT])


def test_names_that_would_collide() -> None:
    class Colliding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv_0 = nn.Conv2d(3, 3, 1)
            self.conv = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1))

        def forward(self, images: Tensor) -> Tensor:
            return self.conv(self.conv(self.conv_0(images)))  # type: ignore[no-any-return]

    network, images = Colliding().double(), some_images(1, size=5)
    deconvnet = Deconvnet(network)
    assert len(set(deconvnet.layers)) == 3
    values = images
    modules = (network.conv_0, network.conv, network.conv)
    for layer, module in zip(deconvnet.layers, modules, strict=True):
        values = module(values).detach()
        found = deconvnet.project(images, every_unit(layer, (3, 5, 5))).activations
        torch.testing.assert_close(found, values.flatten())


def test_kept_images_are_copies() -> None:
    deconvnet, memory = Deconvnet(chain()), torch.zeros(2, 3, 7, 7, dtype=torch.float64)

    def batches() -> Any:
        for number in range(3):
            memory.copy_(some_images(2, size=7, seed=number))
            yield memory

    found = deconvnet.top_activations(batches(), layers="3", k=2, keep_images=True)
    for feature_map in range(4):
        images, units = found.units("3", feature_map)
        recorded = found["3"].activations[feature_map].double()
        torch.testing.assert_close(
            deconvnet.project(images, units).activations, recorded, rtol=1e-6, atol=0
        )


@pytest.mark.filterwarnings("ignore:`torch.jit.trace")
def test_wrapped_and_compiled_networks() -> None:
    images = some_images(1, size=7)
    expected = Deconvnet(chain()).project(images, [UNIT])
    wrapped = nn.DataParallel(chain())
    assert torch.equal(Deconvnet(wrapped).project(images, [UNIT]).pixels, expected.pixels)
    with pytest.raises(UserError, match=r"torch\.jit"):
        Deconvnet(torch.jit.trace(chain(), images))
    exported = torch.export.export(chain().eval(), (images,)).module()
    with pytest.raises(UserError):
        Deconvnet(exported).project(images, [UNIT])


class Backbone(nn.Module):
    """Gives a list of feature maps."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 4, 3)

    def forward(self, images: Tensor) -> list[Tensor]:
        first = self.a(images).relu()
        return [first, self.b(first).relu()]


class OfLists(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.fc = Backbone(), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.backbone(images)[-1].mean((2, 3)))  # type: ignore[no-any-return]


class ByValue(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images / 255 if images.max() > 50 else images


def test_networks_as_people_write_them() -> None:
    network, images = OfLists().double(), some_images(1, size=7)
    found = Deconvnet(network).project(images, every_unit("backbone.b", (4, 3, 3)))
    torch.testing.assert_close(found.activations, network.backbone(images)[1].detach().flatten())
    network.backbone.register_forward_hook(lambda *_: None)
    with pytest.raises(UserError, match="hooks of backbone cannot be followed"):
        Deconvnet(network)
    # Layers above a branch on values are refused by the name of what cannot be followed.
    by_value = Deconvnet(nn.Sequential(ByValue(), *chain()))
    with pytest.raises(UserError, match="module 0, ByValue"):
        by_value.project(images, every_unit("4", (1, 1, 1)))
