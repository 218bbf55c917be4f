"""Contrastive projections: what other maps active at the same place do not explain."""

import numpy
import pytest
import torch
from torch import Tensor

from tests.analysis.networks import chain, pictures
from zf_lightning.deconv import Deconvnet, Unit
from zf_lightning.deconv.contrast import Contrast, contrast, take_away
from zf_lightning.errors import UserError

#: Of the second convolution of `chain`; the last one is dead in its image.
UNITS = [Unit(0, "4", 1, 2, 3), Unit(1, "4", 3, 0, 0), Unit(2, "4", 0, 6, 8)]


def combined(deconvnet: Deconvnet, images: Tensor, found: Contrast) -> Tensor:
    """The linear combination that `found` stands for, taken down in one pass for each unit."""
    state = deconvnet.forward(images, ["4"])
    output = state.outputs["4"]
    signal = torch.zeros(len(UNITS), *output.shape[1:], dtype=output.dtype)
    for number, unit in enumerate(UNITS):
        at = (unit.row, unit.column)
        signal[number, unit.feature_map, *at] = output[unit.image, unit.feature_map, *at]
        for other, weight in zip(found.others[number], found.weights[number], strict=True):
            if other >= 0:
                signal[number, other, *at] = -weight * output[unit.image, other, *at]
    return state.backward("4", signal, torch.tensor([unit.image for unit in UNITS]))


@pytest.mark.parametrize("k", [1, 3])
def test_of_the_gradient_it_is_the_gradient_of_a_combination(k: int) -> None:
    images = pictures().double()
    network = chain().double()
    deconvnet = Deconvnet(network, method="gradient")
    found = contrast(deconvnet, images, UNITS, k=k)
    assert (found.weights.abs() > 0).any()
    whole = combined(deconvnet, images, found)
    for number, (top, left) in enumerate(zip(found.plain.tops, found.plain.lefts, strict=True)):
        inside = found.plain.inside[number]
        rows, columns = (int(inside.any(axis).sum()) for axis in (1, 0))
        top, left = max(int(top), 0), max(int(left), 0)
        expected = whole[number, :, top : top + rows, left : left + columns]
        torch.testing.assert_close(
            found.pixels[number][:, inside], expected.flatten(1), rtol=0, atol=1e-12
        )


def test_nothing_is_left_that_lies_along_the_others() -> None:
    images, deconvnet = pictures(), Deconvnet(chain())
    found = contrast(deconvnet, images, UNITS, k=2)
    for number, unit in enumerate(UNITS):
        for other in found.others[number].tolist():
            if other < 0:
                continue
            beside = Unit(unit.image, "4", other, unit.row, unit.column)
            projection = deconvnet.project_windows(images, [beside]).pixels[0].double()
            product = (projection * found.pixels[number]).sum()
            assert abs(product) <= 1e-5 * projection.norm() * found.plain.pixels[number].norm()
    shares = found.share[found.share.isfinite()]
    assert len(shares) and ((shares >= 0) & (shares <= 1)).all()


def test_others_are_the_strongest_active_maps_and_no_more() -> None:
    images, deconvnet = pictures(), Deconvnet(chain())
    found = contrast(deconvnet, images, UNITS, k=9)
    maps = deconvnet.feature_maps(images, ["4"])["4"]
    for number, unit in enumerate(UNITS):
        here = maps[unit.image, :, unit.row, unit.column].clone()
        here[unit.feature_map] = 0
        expected = [m for m in here.argsort(descending=True).tolist() if here[m] > 0]
        assert [m for m in found.others[number].tolist() if m >= 0] == expected


def test_a_unit_alone_or_dead() -> None:
    images = pictures(1)
    network = chain()
    with torch.no_grad():
        network[4].bias[:] = torch.tensor([50.0, -50, -50, -50, -50])
    found = contrast(Deconvnet(network), images, [Unit(0, "4", 0, 3, 3), Unit(0, "4", 1, 3, 3)])
    assert (found.others[0] == -1).all()
    assert torch.equal(found.pixels[0], found.plain.pixels[0]) and found.share[0] == 1
    assert not found.pixels[1].any() and found.share[1].isnan()


def test_equal_to_least_squares_by_numpy() -> None:
    generator = torch.Generator().manual_seed(0)
    others = torch.randn(2, 4, 30, generator=generator)
    others[0, 1] = 2 * others[0, 0]  # Dependent.
    others[1, 3] = 0
    values = torch.randn(2, 30, generator=generator)
    left, weights = take_away(values, others)
    for number in range(2):
        matrix, vector = others[number].double().numpy().T, values[number].double().numpy()
        solution = numpy.linalg.lstsq(matrix, vector, rcond=None)[0]
        numpy.testing.assert_allclose(left[number], vector - matrix @ solution, atol=1e-6)
        again = values[number].double() - others[number].double().T @ weights[number]
        torch.testing.assert_close(left[number].double(), again, rtol=0, atol=1e-6)


def test_mistakes() -> None:
    images, deconvnet = pictures(1), Deconvnet(chain())
    with pytest.raises(UserError, match="contrast=0 must be at least 1"):
        contrast(deconvnet, images, UNITS[:1], k=0)
    with pytest.raises(UserError, match="one layer"):
        contrast(deconvnet, images, [Unit(0, "4", 0, 0, 0), Unit(0, "0", 0, 0, 0)])
