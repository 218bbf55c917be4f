"""Projections as whole numbers of steps, as fine as pictures and scores need them."""

import torch
from torch import Tensor

#: Steps to the root mean square of a projection. A picture is drawn with 127 steps from grey to
#: black or white, a magnitude of two to seven times that: rounding moves nearly all its pixels by
#: one at most.
STEPS = 20
#: From zero to the peak, however near or far that is from the rest.
FEWEST, MOST = 127, 1024


def in_steps(projections: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Round projections `[..., 3, h, w]`, each in steps of its own.

    Returns the numbers of steps, of that shape (int16), how many make the largest magnitude `[...]`
    (int64), and that magnitude `[...]` (float32). The cosine between what is kept and what was
    given is at least 0.9998.
    """
    values = projections.float()
    axes = (-3, -2, -1)
    peaks = values.abs().amax(axes)
    mean_square = values.square().mean(axes)
    steps = (STEPS * peaks / mean_square.sqrt()).ceil_().nan_to_num_(0).clamp_(FEWEST, MOST)
    each = (steps / peaks).where(peaks > 0, 0)[..., None, None, None]
    return (values * each).round_().to(torch.int16), steps.long(), peaks
