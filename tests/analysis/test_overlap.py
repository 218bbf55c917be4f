"""Near-duplicates by normalised correlation."""

import torch
from torch.nn import functional

from tests.pictures import scenes
from zf_lightning.analysis.overlap import correlated_pairs, signatures


def test_the_product_of_signatures_is_pearsons_correlation() -> None:
    images = scenes(4)
    found = signatures(images)
    small = functional.adaptive_avg_pool2d(images.double(), 32).flatten(1)
    torch.testing.assert_close((found @ found.T).double(), torch.corrcoef(small), atol=1e-5, rtol=0)


def test_altered_copies_are_found_and_others_are_not() -> None:
    images = scenes(6)
    darker = (images[2:3].float() * 0.6 + 20).to(torch.uint8)
    smaller = functional.interpolate(images[4:5].float(), size=100, mode="bilinear")
    smaller = functional.interpolate(smaller, size=256, mode="bilinear").to(torch.uint8)
    noisy = (images[5:6].float() + torch.randn(1, 3, 256, 256) * 12).clamp(0, 255).to(torch.uint8)
    others = torch.cat([scenes(5, seed=1), darker, smaller, noisy])
    parts = [
        (torch.arange(0, 4), signatures(others[:4])),
        (torch.arange(4, 8), signatures(others[4:])),
    ]
    pairs = correlated_pairs(signatures(images), parts, threshold=0.95)
    assert {(pair.first, pair.second) for pair in pairs} == {(2, 5), (4, 6), (5, 7)}
    assert [p.correlation for p in pairs] == sorted((p.correlation for p in pairs), reverse=True)
    assert all(0.95 <= pair.correlation <= 1 for pair in pairs)


def test_pictures_of_one_colour_are_like_nothing() -> None:
    plain = torch.full((2, 3, 256, 256), 200, dtype=torch.uint8)
    plain[1, :, ::50, ::50] += 1
    found = signatures(plain)
    assert not found.any()
    assert correlated_pairs(found, [(torch.arange(2), found)], threshold=0.5) == []
