"""Projections in steps: what is lost is less than a picture shows, or a score notices."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from zf_lightning.atlas.levels import FEWEST, MOST, STEPS, in_steps
from zf_lightning.figures.grid import projection_scale


def heavy_tailed(*shape: int, power: float) -> torch.Tensor:
    """Noise with outliers, the more the higher the power."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return noise * noise.abs().pow(power - 1)


def test_rounding_is_by_half_a_step_at_most() -> None:
    projections = 0.003 * heavy_tailed(4, 9, 3, 20, 30, power=2)
    levels, steps, peaks = in_steps(projections)
    assert levels.dtype == torch.int16 and steps.dtype == torch.int64
    assert torch.equal(peaks, projections.abs().amax((2, 3, 4)))
    # The peak itself is exact.
    assert torch.equal(levels.abs().amax((2, 3, 4)), steps.to(torch.int16))
    a_step = (peaks / steps)[..., None, None, None]
    assert ((levels * a_step - projections).abs() <= 0.501 * a_step).all()
    mean_square = projections.square().mean((2, 3, 4))
    assert ((peaks / steps) <= 1.001 * mean_square.sqrt() / STEPS).all()


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_neither_pictures_nor_cosines_notice(power: float) -> None:
    projections = heavy_tailed(9, 3, 40, 40, power=power)
    levels, steps, peaks = in_steps(projections)
    kept = levels * (peaks / steps)[:, None, None, None]
    assert cosine_similarity(kept.flatten(1), projections.flatten(1)).min() > 0.9998
    white = projection_scale(projections.numpy(), np.ones((9, 40, 40), bool))
    assert float((kept - projections).abs().max()) <= 1.05 * white / 127


def test_what_is_nothing_but_a_peak_and_what_is_nothing() -> None:
    projections = torch.zeros(3, 3, 200, 200)
    projections[0, 1, 5, 7] = -2.5
    projections[1, 0, 0, 0], projections[1, 0, 0, 1] = 1.0, 1e-6
    levels, steps, peaks = in_steps(projections)
    assert steps.tolist() == [MOST, MOST, FEWEST] and peaks.tolist() == [2.5, 1.0, 0.0]
    assert int(levels[0, 1, 5, 7]) == -MOST and int(levels.abs().sum()) == 2 * MOST
