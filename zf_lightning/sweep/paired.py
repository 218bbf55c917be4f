"""Two networks compared in pairs, on the same images: intervals of the difference of their errors.

Two things vary: which images were drawn, and which networks a seed gives. What we decided:

- *One seed.* Nothing is known of other seeds. The interval is Tango's (Statistics in Medicine 17,
  1998): the differences that McNemar's test, without continuity correction, does not reject. It
  speaks of these two networks, on further images.
- *Several seeds.* The interval speaks of further seeds on further images. Seeds and images are
  crossed, so that the variance of the mean has a part of each, as in the analysis of variance of
  two random factors. Half the interval is the root of two squares: that of the t test over seeds,
  and that of what the images add to its variance, where it is above zero. One quantile for both,
  with Satterthwaite's degrees of freedom, covered 91 % where 95 % were promised, with 2 or 3 seeds.
- *Bootstrap.* Images are drawn again, with all their seeds: the networks are taken as they are. It
  is the percentile interval, as SciPy's, drawn from the counts of the values there are.
- *How many seeds.* The fewest with which a true difference of one percentage point is told from 0
  in 80 % of sweeps, given what varied in this one.

All differences are in percentage points; levels are 95 %.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest, nct, norm, t

LEVEL, POWER = 0.95, 0.8
RESAMPLES = 10_000
#: More seeds are not looked for.
MOST_SEEDS = 1000
#: The difference, in percentage points, that seeds are counted for.
POINT = 1.0

Ends = tuple[float, float]
#: `[S, N]`: whether the network of each seed was wrong on each image.
Wrong = NDArray[np.bool_]


class Comparison(NamedTuple):
    """A difference between two errors, the second less the first."""

    #: Over seeds and images; with one seed McNemar's, over images.
    interval: Ends
    #: Over images, given the networks.
    bootstrap: Ends
    #: Of McNemar's exact test; None with several seeds, of which it knows nothing.
    mcnemar: float | None
    #: Infinite where the images are too few for any number; None where one seed is known.
    seeds_for_a_point: float | None


def compare(first: Wrong, second: Wrong) -> Comparison:
    """Compare networks by seed, each with the other of its seed, on at least two images."""
    differences = second.astype(np.int8) - first
    bootstrap = bootstrap_interval(differences)
    if len(differences) > 1:
        seeds = seeds_for_a_point(*_variance(differences))
        return Comparison(crossed_interval(differences), bootstrap, None, seeds)
    worse, better = int((differences > 0).sum()), int((differences < 0).sum())
    interval = tango_interval(worse, better, differences.shape[1])
    return Comparison(interval, bootstrap, mcnemar_test(worse, better), None)


def mcnemar_test(worse: int, better: int) -> float:
    """The exact two-sided p of two errors, given the images that only one network has wrong."""
    return float(binomtest(worse, worse + better).pvalue) if worse + better else 1.0


def tango_interval(worse: int, better: int, images: int) -> Ends:
    """The differences `(worse - better) / images` that McNemar's test does not reject."""
    squared = norm.ppf((1 + LEVEL) / 2) ** 2
    observed = (worse - better) / images

    def beyond(difference: float) -> float:
        """Above 0 where the test rejects a difference."""
        # The share that only the first network has wrong, at its most likely for the difference.
        b = (2 * images - worse + better) * difference - worse - better
        c = -better * difference * (1 - difference)
        share = (np.sqrt(max(0.0, b * b - 8 * images * c)) - b) / (4 * images)
        variance = images * (2 * share + difference * (1 - difference))
        return (worse - better - images * difference) ** 2 - squared * variance

    def end(limit: float) -> float:
        # Without a discordant image the observed difference is a root too.
        start = observed + 1e-9 * np.sign(limit)
        return limit if abs(start) >= 1 else float(brentq(beyond, start, limit))

    return 100 * end(-1.0), 100 * end(1.0)


def bootstrap_interval(differences: NDArray[np.int8]) -> Ends:
    """The percentile interval of the mean of `[S, N]`, over images."""
    seeds, images = differences.shape
    values, counts = np.unique(differences.sum(0, dtype=np.int64), return_counts=True)
    drawn = np.random.default_rng(0).multinomial(images, counts / images, size=RESAMPLES)
    means = 100 * (drawn @ values) / (seeds * images)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def crossed_interval(differences: NDArray[np.int8]) -> Ends:
    """The interval of the mean of `[S, N]`, over seeds and images; S is at least 2."""
    mean = 100 * differences.mean()
    reach = _reach(np.array(len(differences)), *_variance(differences))
    return float(mean - reach), float(mean + reach)


def seeds_for_a_point(of_seeds: float, of_images: float) -> float:
    """How many seeds a difference of `POINT` needs, by the parts of `_variance`; or infinity."""
    numbers = np.arange(2, MOST_SEEDS + 1)
    error = np.sqrt(np.maximum(of_seeds / numbers + of_images, 1e-12))
    # The noncentral distribution is not computed far from 0, where all is certain anyway.
    shift = np.minimum(POINT / error, 30.0)
    found = nct.sf(_reach(numbers, of_seeds, of_images) / error, numbers - 1, shift) >= POWER
    return float(numbers[found.argmax()]) if found.any() else float("inf")


def _reach(seeds: NDArray[np.int_], of_seeds: float, of_images: float) -> NDArray[np.float64]:
    """Half the interval, for each number of seeds."""
    quantile = (1 + LEVEL) / 2
    over_seeds = t.ppf(quantile, seeds - 1) ** 2 * of_seeds / seeds
    return np.sqrt(over_seeds + norm.ppf(quantile) ** 2 * of_images)


def _variance(differences: NDArray[np.int8]) -> tuple[float, float]:
    """Two parts: the variance of the mean over S seeds is `of_seeds / S + of_images`."""
    seeds, images = differences.shape
    by_seed = 100 * differences.mean(1)
    by_image = 100 * differences.mean(0)
    of_seeds = float(by_seed.var(ddof=1))
    square = 100**2 * float(np.square(differences, dtype=np.int64).sum())
    # What neither the seed nor the image explains.
    mean = by_seed.mean()
    rest = square - images * (by_seed**2).sum() - seeds * (by_image**2).sum()
    rest = (rest + seeds * images * mean**2) / ((seeds - 1) * (images - 1))
    of_images = float(by_image.var(ddof=1) - rest / seeds) / images
    return of_seeds, max(0.0, of_images)
