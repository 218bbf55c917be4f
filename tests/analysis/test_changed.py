"""Only what changed is computed again, and the result is that of whole passes."""

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.analysis.networks import Branches, chain, pictures
from zf_lightning.analysis import ObservedNetwork
from zf_lightning.analysis.changed import Changed, ChangedPass


def changed_images(
    image: Tensor, size: tuple[int, int], number: int, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Windows of noise, where they are, and the whole images with them in it."""
    generator = torch.Generator().manual_seed(seed)
    height, width = image.shape[2:]
    tops = torch.randint(height - size[0] + 1, (number,), generator=generator)
    lefts = torch.randint(width - size[1] + 1, (number,), generator=generator)
    # The corners, where windows are moved so that they lie within every map.
    tops[:2], lefts[:2] = torch.tensor([0, height - size[0]]), torch.tensor([0, width - size[1]])
    windows = torch.randn(number, 3, *size, generator=generator)
    whole = image.repeat(number, 1, 1, 1)
    for one, window, top, left in zip(whole, windows, tops.tolist(), lefts.tolist(), strict=True):
        one[:, top : top + size[0], left : left + size[1]] = window
    return windows, tops, lefts, whole


def check(network: nn.Module, image: Tensor, size: tuple[int, int], layers: tuple[str, ...]) -> int:
    """Compare with whole passes; the number of layers whose outputs were computed in windows."""
    observed = ObservedNetwork(network)
    windows, tops, lefts, whole = changed_images(image, size, 4, seed=1)
    expected: dict[str, Tensor] = {}
    scores = observed.run(whole, layers, lambda name, output: expected.update({name: output * 1}))
    local = []

    def compare(name: str, output: Changed | Tensor) -> None:
        if isinstance(output, Changed):
            local.append(name)
            channel = 1
            total = expected[name][:, channel].double().sum((1, 2))
            torch.testing.assert_close(output.totals(channel), total, rtol=1e-4, atol=1e-3)
            output = output.whole()
        close(output, expected[name])

    found = ChangedPass(observed, image, layers).run(windows, tops, lefts, compare)
    close(found, scores)
    return len(local)


def close(found: Tensor, expected: Tensor) -> None:
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * scale)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([chain, Branches]),
    st.tuples(st.integers(25, 60), st.integers(25, 60)),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_it_equals_whole_passes(
    make: type[nn.Module], image_size: tuple[int, int], size: tuple[int, int]
) -> None:
    layers = ("0", "4", "8") if make is chain else ("stem", "inner", "wide", "narrow")
    check(make().eval(), pictures(1, *image_size), size, layers)


def test_small_windows_stay_windows_and_large_ones_do_not() -> None:
    image = pictures(1, 80, 80)
    layers = ("stem", "inner", "wide", "narrow")
    assert check(Branches().eval(), image, (8, 8), layers) == 4
    assert check(Branches().eval(), image, (79, 79), layers) == 0


@pytest.mark.parametrize(
    "name",
    ["alexnet", "squeezenet1_1", "resnet18", pytest.param("densenet121", marks=pytest.mark.slow)],
)
def test_torchvisions_networks(name: str) -> None:
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None).eval()
    observed = ObservedNetwork(network)
    layers = (observed.layers[0], observed.last_convolution)
    assert check(network, torch.randn(1, 3, 130, 130), (10, 16), layers) >= 1


def test_an_operation_without_a_rule_is_run_on_whole_maps() -> None:
    class Sine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.upper = nn.Conv2d(4, 5, 3)
            self.output = nn.Linear(5, 2)

        def forward(self, images: Tensor) -> Tensor:
            values = self.upper(torch.sin(self.conv(images)))
            return self.output(values.view(values.size(0), values.size(1), -1).mean(2))

    assert check(Sine().eval(), pictures(1), (5, 5), ("conv", "upper")) == 1
