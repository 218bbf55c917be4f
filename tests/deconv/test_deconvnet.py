"""Projections against autograd and against what is known of them (Sec. 2.1)."""

import random

import pytest
import torch
from torch import Tensor, nn

from tests.deconv.oracles import NETWORKS, projection_by_autograd, small_convnet, some_images
from zf_lightning.deconv import Deconvnet, Unit, Units
from zf_lightning.deconv.units import Projections
from zf_lightning.errors import UserError

LAYERS = ("conv1", "conv2", "conv3", "fc4", "fc5")


def units_of(outputs: dict[str, Tensor], *, each: int = 3) -> list[Unit]:
    """The strongest unit of each image and layer, a corner, and the last position."""
    units = []
    for layer, output in outputs.items():
        for image, maps in enumerate(output):
            flat = maps.flatten().argsort(descending=True)
            for place in (*flat[: each - 2].tolist(), 0, maps.numel() - 1):
                position = torch.unravel_index(torch.tensor(place), maps.shape)
                units.append(Unit(image, layer, *(int(number) for number in position)))
    return units


def test_unit_of_a_row_of_arguments() -> None:
    assert Unit(1, "conv1", 2) == Unit(image=1, layer="conv1", feature_map=2, row=0, column=0)


@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient"])
@pytest.mark.parametrize("norm", ["identity", "jacobian"])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_autograd(name: str, norm: str, rule: str) -> None:
    network, images = small_convnet(name), some_images()
    deconvnet = Deconvnet(network, method=rule, norm=norm, batch_size=7)  # type: ignore[arg-type]
    units = units_of(deconvnet.forward(images, LAYERS).outputs)
    found = deconvnet.project(images, units)
    assert found.pixels.shape == (len(units), 3, 41, 41)
    for unit, pixels, activation in zip(units, found.pixels, found.activations, strict=True):
        position = (unit.feature_map, unit.row, unit.column)
        position = position if unit.layer.startswith("conv") else position[:1]
        expected, value = projection_by_autograd(
            network.eval(), images, unit.image, unit.layer, position, rule=rule, norm=norm
        )
        torch.testing.assert_close(activation, value, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(pixels, expected, rtol=1e-10, atol=1e-12)


def test_forward_pass_is_the_networks_own() -> None:
    network, images = small_convnet("zfnet_like").eval(), some_images()
    outputs = Deconvnet(network).forward(images, ["fc5", "conv2"]).outputs
    logits, found = Deconvnet(network).with_feature_maps(images, ["conv2"])
    assert torch.equal(logits, network(images))
    assert torch.equal(outputs["fc5"], logits)
    assert torch.equal(outputs["conv2"], found["conv2"])


def test_conv1_unit_is_its_activation_times_the_filter() -> None:
    network, images = small_convnet("zfnet_like"), some_images()
    deconvnet = Deconvnet(network)
    maps = deconvnet.forward(images, ["conv1"]).outputs["conv1"][1]
    feature_map, row, column = (
        int(number) for number in torch.unravel_index(maps[:, 3:9, 3:9].argmax(), (6, 6, 6))
    )
    row, column = row + 3, column + 3
    found = deconvnet.project(images, [Unit(1, "conv1", feature_map, row, column)])
    expected = torch.zeros(3, 41, 41, dtype=torch.float64)
    top, left = 2 * row - 1, 2 * column - 1
    filter_ = network.get_submodule("conv1").weight[feature_map].detach()  # type: ignore[operator,index,union-attr]
    expected[:, top : top + 7, left : left + 7] = maps[feature_map, row, column] * filter_
    assert maps[feature_map, row, column] > 0
    torch.testing.assert_close(found.pixels[0], expected)


def test_dead_unit_projects_to_exactly_zero() -> None:
    network, images = small_convnet("zfnet_like"), some_images()
    network.get_submodule("conv3").bias.data.fill_(-100)  # type: ignore[union-attr,operator]
    found = Deconvnet(network).project(images, [Unit(0, "conv3", 2, 1, 1)])
    assert found.activations.item() == 0
    assert found.pixels.count_nonzero() == 0


@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient"])
def test_is_positively_homogeneous(rule: str) -> None:
    deconvnet = Deconvnet(small_convnet("zfnet_like"), method=rule)  # type: ignore[arg-type]
    recording = deconvnet.forward(some_images(), ["conv3"])
    generator = torch.Generator().manual_seed(1)
    signal = torch.randn(recording.outputs["conv3"].shape, generator=generator).double()
    each = torch.arange(2)
    once = recording.backward("conv3", signal, each)
    thrice = recording.backward("conv3", 3 * signal, each)
    torch.testing.assert_close(thrice, 3 * once)
    # Rectification is not linear: a deconvnet that were even would be a gradient.
    opposite = recording.backward("conv3", -signal, each)
    assert torch.allclose(opposite, -once) == (rule == "gradient")


@pytest.mark.parametrize("name", NETWORKS)
def test_no_energy_outside_the_receptive_field(name: str) -> None:
    deconvnet, images = Deconvnet(small_convnet(name)), some_images()
    outputs = deconvnet.forward(images, ["conv1", "conv2", "conv3"]).outputs
    fields = deconvnet.receptive_fields(list(outputs), (41, 41))
    units = units_of(outputs, each=6)
    found = deconvnet.project(images, units)
    for unit, pixels in zip(units, found.pixels, strict=True):
        window = fields[unit.layer].clipped_window(unit.row, unit.column)
        outside = pixels.clone()
        outside[
            :, window.top : window.top + window.height, window.left : window.left + window.width
        ] = 0
        assert outside.count_nonzero() == 0
    assert all(pixels.any() for pixels, value in zip(*_parts(found), strict=True) if value > 0)


def _parts(found: Projections) -> tuple[Tensor, Tensor]:
    return found.pixels, found.activations


def test_units_do_not_depend_on_each_other() -> None:
    network, images = small_convnet("zfnet_like"), some_images(3)
    units = units_of(Deconvnet(network).forward(images, ["conv2", "conv3"]).outputs)
    random.Random(0).shuffle(units)
    together = Deconvnet(network, batch_size=64).project(images, units)
    for batch_size in (1, 2, 5):
        found = Deconvnet(network, batch_size=batch_size).project(images, units)
        torch.testing.assert_close(found.pixels, together.pixels)
    as_tensors = Units(
        "conv3", *torch.tensor([[2, 1, 0, 0], [0, 4, 0, 0]], dtype=torch.int64).T.contiguous()
    )
    rows = Deconvnet(network).project(images, as_tensors)
    alone = Deconvnet(network).project(images, [Unit(2, "conv3", 1), Unit(0, "conv3", 4)])
    assert torch.equal(rows.pixels, alone.pixels)


def test_windows_are_cut_out_of_the_whole_projection() -> None:
    deconvnet, images = Deconvnet(small_convnet("zfnet_like"), batch_size=4), some_images(3)
    units = units_of(deconvnet.forward(images, ["conv2"]).outputs, each=5)[::-1]
    whole, cut = deconvnet.project(images, units), deconvnet.project_windows(images, units)
    assert torch.equal(whole.activations, cut.activations)
    field = deconvnet.receptive_fields(["conv2"], (41, 41))["conv2"]
    assert cut.pixels.shape[2:] == field.size == (19, 19)
    padded = nn.functional.pad(whole.pixels, (50, 50, 50, 50))
    inside = nn.functional.pad(torch.ones(41, 41, dtype=torch.bool), (50, 50, 50, 50))
    for place in range(len(units)):
        top, left = int(cut.tops[place]) + 50, int(cut.lefts[place]) + 50
        here = (slice(top, top + 19), slice(left, left + 19))
        assert torch.equal(cut.pixels[place], padded[place][(slice(None), *here)])
        assert torch.equal(cut.inside[place], inside[here])


def test_network_and_random_state_stay_as_they_are() -> None:
    network, images = small_convnet("zfnet_like").train(), some_images()
    network.get_submodule("conv2").eval()
    modes = [module.training for module in network.modules()]
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    gradients = [torch.ones_like(weight) for weight in network.parameters()]
    for weight, gradient in zip(network.parameters(), gradients, strict=True):
        weight.grad = gradient
    random_state, before = torch.get_rng_state(), images.clone()
    found = Deconvnet(network).project(images, [Unit(0, "fc4", 1), Unit(1, "conv3", 0, 1, 1)])
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())
    for weight, gradient in zip(network.parameters(), gradients, strict=True):
        assert weight.grad is gradient and torch.equal(gradient, torch.ones_like(weight))
        assert weight.requires_grad
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.equal(images, before)
    assert not found.pixels.requires_grad
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    assert not any(getattr(module, hook) for module in network.modules() for hook in hooks)
    assert all("forward" not in vars(module) for module in network.modules())


def test_sees_weights_that_change_later() -> None:
    network, images = small_convnet("zfnet_like"), some_images()
    deconvnet, unit = Deconvnet(network), [Unit(0, "fc5", 1)]
    before = deconvnet.project(images, unit)
    with torch.no_grad():
        network.get_submodule("fc5").weight.mul_(2)  # type: ignore[union-attr,operator]
    assert not torch.equal(deconvnet.project(images, unit).pixels, before.pixels)
    fresh = Deconvnet(network).project(images, unit)
    assert torch.equal(deconvnet.project(images, unit).pixels, fresh.pixels)


def test_float32_is_close_to_float64() -> None:
    network, images = small_convnet("zfnet_like"), some_images()
    units = units_of(Deconvnet(network).forward(images, LAYERS).outputs)
    exact = Deconvnet(network).project(images, units)
    found = Deconvnet(network.float()).project(images.float(), units)
    assert found.pixels.dtype == torch.float32
    torch.testing.assert_close(found.pixels.double(), exact.pixels, rtol=1e-3, atol=1e-4)


def test_autocast_around_it_changes_nothing() -> None:
    network, images = small_convnet("zfnet_like").float(), some_images().float()
    unit = [Unit(0, "conv3", 1, 1, 1)]
    expected = Deconvnet(network).project(images, unit)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = Deconvnet(network).project(images, unit)
    assert torch.equal(found.pixels, expected.pixels)


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        (Unit(2, "conv3", 0), "image 2 does not exist: there are 2"),
        (Unit(0, "conv3", 5), "conv3: feature map 5 does not exist: there are 5"),
        (Unit(0, "conv3", 0, 9, 0), "conv3: row 9"),
        (Unit(0, "conv3", 0, 0, -1), "conv3: column -1"),
        (Unit(0, "fc4", 0, 1, 0), "fc4: row 1"),
        (Unit(0, "conv9", 0), "no layer conv9; it has conv1, conv2, conv3, fc4, fc5"),
    ],
)
def test_unit_that_does_not_exist(unit: Unit, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Deconvnet(small_convnet("zfnet_like")).project(some_images(), [unit])


def test_wrong_arguments() -> None:
    network, images = small_convnet("zfnet_like"), some_images()
    with pytest.raises(UserError, match="method=guide is unknown: choose one of deconvnet, guided"):
        Deconvnet(network, method="guide")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="Images are float"):
        Deconvnet(network).project((255 * images).to(torch.uint8), [Unit(0, "conv1", 0)])
    with pytest.raises(UserError, match="project one layer a call"):
        Deconvnet(network).project_windows(images, [Unit(0, "conv1", 0), Unit(0, "conv2", 0)])


def test_no_units() -> None:
    found = Deconvnet(small_convnet("zfnet_like")).project(some_images(), [])
    assert found.pixels.shape == (0, 3, 41, 41) and found.activations.shape == (0,)


def test_values_of_more_than_four_axes_are_no_feature_maps() -> None:
    class Blocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.mix(x.unfold(2, 4, 4).unfold(3, 4, 4)).relu()

    with pytest.raises(UserError, match=r"mix gives \[2, 3, 2, 2, 4, 5\] for 2 images"):
        Deconvnet(Blocks()).shapes(["mix"], (8, 8))
