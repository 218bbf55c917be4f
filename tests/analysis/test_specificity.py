"""Specificity: cosines beside NumPy, and what contrast leaves."""

import numpy
import torch

from tests.analysis.networks import pictures
from zf_lightning.analysis.specificity import specificity
from zf_lightning.deconv import Deconvnet, Unit, Units, contrast


def network() -> torch.nn.Sequential:
    """Twelve maps, all active everywhere."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = torch.nn.Sequential(
            torch.nn.Conv2d(3, 12, 7), torch.nn.ReLU(), torch.nn.Conv2d(12, 12, 5), torch.nn.ReLU()
        )
        torch.nn.init.constant_(found[2].bias, 30.0)
    return found


def units() -> Units:
    at = torch.tensor([3, 9])
    return Units("2", torch.tensor([0, 2]), torch.tensor([4, 7]), at, at)


def test_cosines_are_with_maps_that_are_not_taken_away() -> None:
    images, deconvnet = pictures(), Deconvnet(network())
    found = specificity(deconvnet, images, units(), k=3, held_out=20)
    maps = deconvnet.feature_maps(images, ["2"])["2"]
    for number, unit in enumerate([Unit(0, "2", 4, 3, 3), Unit(2, "2", 7, 9, 9)]):
        here = maps[unit.image, :, unit.row, unit.column].clone()
        here[unit.feature_map] = -1
        beyond = here.argsort(descending=True)[3:-1].tolist()
        asked = [Unit(unit.image, "2", m, unit.row, unit.column) for m in beyond]
        all_pixels = deconvnet.project_windows(images, [unit, *asked]).pixels.flatten(1).numpy()
        own, others = all_pixels[0], all_pixels[1:]
        cosines = others @ own / numpy.linalg.norm(own) / numpy.linalg.norm(others, axis=1)
        of_unit = found.cosines[number][found.cosines[number].isfinite()]
        numpy.testing.assert_allclose(sorted(of_unit), sorted(cosines), atol=1e-5)
        assert found.contrastive_cosines[number].isfinite().sum() == len(beyond) == 8
    assert torch.equal(found.cosines.isnan(), found.contrastive_cosines.isnan())


def test_contrastive_projections_are_those_of_contrast() -> None:
    images, deconvnet = pictures(), Deconvnet(network())
    found = specificity(deconvnet, images, units(), k=3)
    expected = contrast(deconvnet, images, units(), k=3)
    torch.testing.assert_close(found.plain, expected.plain.pixels)
    torch.testing.assert_close(found.contrastive, expected.pixels, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.share, expected.share, rtol=1e-4, atol=1e-6)


def test_another_map_is_the_strongest_where_all_are_removed() -> None:
    images, deconvnet = pictures(), Deconvnet(network())
    found = specificity(deconvnet, images, units(), k=50)
    assert found.cosines.isnan().all()
    maps = deconvnet.feature_maps(images, ["2"])["2"]
    for number, (image, own, at) in enumerate([(0, 4, 3), (2, 7, 9)]):
        here = maps[image, :, at, at].clone()
        here[own] = -1
        strongest = Unit(image, "2", int(here.argmax()), at, at)
        expected = deconvnet.project_windows(images, [strongest]).pixels[0]
        torch.testing.assert_close(found.other[number], expected, rtol=1e-4, atol=1e-5)


def test_without_others_there_is_nothing_to_compare() -> None:
    layers = network()
    with torch.no_grad():
        layers[2].bias[torch.arange(12) != 4] = -1e6
    alone = Units("2", *(torch.tensor([value]) for value in (0, 4, 3, 3)))
    found = specificity(Deconvnet(layers), pictures(), alone)
    assert found.cosines.isnan().all() and not found.other.any() and found.share.item() == 1
