"""Bootstrap intervals of a mean over units, images or runs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

RESAMPLES = 2000


class Interval(NamedTuple):
    """A mean, and the ends of its interval; NaN where there is nothing to average."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def contains(self, value: float) -> bool:
        """Whether the interval holds a value."""
        return self.low <= value <= self.high


def mean_interval(values: Sequence[float], *, level: float = 0.95, seed: int = 0) -> Interval:
    """Mean and percentile-bootstrap interval of independent values; NaN values are left out."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if len(finite) < 2:
        mean = float(finite.mean()) if len(finite) else float("nan")
        return Interval(mean, float("nan"), float("nan"))
    generator = np.random.default_rng(seed)
    drawn = bootstrap(
        (finite,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=level,
        method="percentile",
        random_state=generator,
    ).confidence_interval
    return Interval(float(finite.mean()), float(drawn.low), float(drawn.high))
