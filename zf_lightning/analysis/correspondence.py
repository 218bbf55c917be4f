"""Correspondence: changes of features where the same part is hidden in several images (Table 1).

For image i and layer l, e_i is the difference between the features of the original and of the
masked image. Delta is the Hamming distance of sign(e_i) and sign(e_j), averaged over the dimensions
of the layer and over the pairs of images: 0 if all images change alike. The paper prints a sum, but
its values, and the words "mean feature sign change" in its early version, are those of an average.

Choices where the paper is silent:

- Features are the ReLU's outputs; the sign of zero is a third value. A feature that is 0 before and
  after counts as agreement: otherwise random places, which have nothing in common, could not reach
  the paper's 0.1. The price is that Delta is also low for a place to which few features respond.
  `rectified=False` takes the ReLU's inputs instead: hardly any difference is zero, and unrelated
  changes give 0.5.
- `changed_only=True` compares, for each pair of images, only the features that the mask changes in
  both. Unrelated changes then give 0.5, and changing many features carries no penalty.
- The mask is a square, of one size for all parts and random places.
- A random place is drawn for each image, uniformly among those where the square fits in the image.
- The spread is the standard deviation over pairs of images; for random places, over the pairs of
  all draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zf_lightning.analysis.observed import ObservedNetwork
from zf_lightning.analysis.squares import around, hide, random_starts
from zf_lightning.errors import UserError


@dataclass(frozen=True)
class Consistency:
    """Delta of one part, or of random places, in one layer."""

    #: `[draws, N, N]` float64: the share of dimensions whose signs differ, of each pair of images;
    #: NaN where no dimension is compared. One draw for a part.
    distances: Tensor

    @property
    def pairs(self) -> Tensor:
        """`[draws * P]`: the distances of the P pairs of different images."""
        number = self.distances.shape[1]
        first, second = torch.triu_indices(number, number, 1)
        return self.distances[:, first, second].flatten()

    @property
    def delta(self) -> float:
        """Mean over dimensions, pairs and draws."""
        return float(self.pairs.nanmean())

    @property
    def spread(self) -> float:
        """Standard deviation over the pairs of all draws."""
        pairs = self.pairs
        return float(pairs[~pairs.isnan()].std(correction=0))

    @property
    def of_draws(self) -> list[float]:
        """Delta of each draw."""
        return self.pairs.view(len(self.distances), -1).nanmean(1).tolist()


@dataclass(frozen=True)
class Correspondence:
    """Delta by layer and part, and where the masks were."""

    parts: dict[str, dict[str, Consistency]]
    #: By layer.
    random: dict[str, Consistency]
    #: Height and width of the mask in pixels.
    size: int
    #: `[N, 2]` int64: first row and column of the masks, by part and for the first random draw.
    starts: dict[str, Tensor]
    random_starts: Tensor


def correspondence(
    network: nn.Module | ObservedNetwork,
    images: Tensor,
    parts: Mapping[str, Tensor],
    *,
    layers: Sequence[str] | None = None,
    size: int,
    fill: Tensor | float = 0.0,
    draws: int = 10,
    seed: int = 0,
    rectified: bool = True,
    changed_only: bool = False,
    batch_size: int = 32,
) -> Correspondence:
    """Table 1: Delta for each part, and for random places.

    Args:
        images: float `[N, 3, H, W]` as the network takes them.
        parts: by name the centres `[N, 2]` (row, column) in pixels of the images.
        layers: `ObservedNetwork.middle_and_late` if None (layers 5 and 7 in the paper).
        size: height and width of the mask in pixels.
        fill: the mask's values: a number or `[3, H, W]`, in the network's input range.
        draws: random places for each image; the paper does not say how many.
        seed: decides the random places.
        rectified: whether features are the outputs or the inputs of a layer's ReLU.
        changed_only: compare only the features that the mask changes in both images.
        batch_size: most images that go through the network at a time.

    Raises:
        UserError: fewer than two images, a part outside an image, or a layer that does not exist.
    """
    observed = ObservedNetwork.of(network)
    layers = list(observed.middle_and_late if layers is None else layers)
    if len(images) < 2:
        raise UserError("Correspondence compares images: give at least two.")
    if draws < 1:
        raise UserError(f"draws is {draws}, but must be at least 1.")
    limits = torch.tensor(images.shape[2:])
    for part, centres in parts.items():
        # Written so that NaN counts as outside.
        outside = ~((centres >= 0) & (centres < limits)).all(1)
        if outside.any():
            raise UserError(f"{part} of image {int(outside.nonzero()[0])} lies outside the image.")
    originals = _features(observed, images, layers, batch_size, rectified)
    by_part: dict[str, dict[str, Consistency]] = {layer: {} for layer in layers}
    starts = {part: around(centres, size) for part, centres in parts.items()}

    def distances(places: Tensor) -> dict[str, Tensor]:
        masked = hide(images, places, size, fill)
        features = _features(observed, masked, layers, batch_size, rectified)
        return {
            layer: sign_distances(originals[layer] - features[layer], changed_only=changed_only)
            for layer in layers
        }

    for part, places in starts.items():
        for layer, found in distances(places).items():
            by_part[layer][part] = Consistency(found[None])
    generator = torch.Generator().manual_seed(seed)
    random = [random_starts(len(images), images.shape[2:], size, generator) for _ in range(draws)]
    drawn = [distances(places) for places in random]
    return Correspondence(
        by_part,
        {layer: Consistency(torch.stack([found[layer] for found in drawn])) for layer in layers},
        size,
        starts,
        random[0],
    )


def sign_distances(differences: Tensor, *, changed_only: bool = False) -> Tensor:
    """Share of dimensions whose signs (-1, 0, 1) differ: float64 `[N, N]` of `[N, D]`.

    With `changed_only`, among the dimensions where neither sign is 0; NaN if there are none.
    """
    signs = differences.sign()
    if not changed_only:
        return torch.stack([(signs != own).double().mean(1) for own in signs]).cpu()
    products = (signs * own for own in signs)
    return torch.stack([(p < 0).double().sum(1) / (p != 0).double().sum(1) for p in products]).cpu()


def below_random(
    part: Consistency,
    random: Consistency,
    *,
    level: float = 0.95,
    samples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Difference of Delta, random places minus part, and the ends of its confidence interval.

    The interval is a percentile bootstrap over images, which are independent; pairs are not, as
    they share images. An image drawn twice is not paired with itself.
    """
    difference = random.distances.nanmean(0) - part.distances.mean(0)
    number = len(difference)
    different = ~torch.eye(number, dtype=torch.bool)
    generator = torch.Generator().manual_seed(seed)
    means = []
    for _ in range(samples):
        chosen = torch.randint(number, (number,), generator=generator)
        pairs = different[chosen][:, chosen]
        if pairs.any():
            means.append(difference[chosen][:, chosen][pairs].nanmean())
    ends = torch.stack(means).nanquantile(torch.tensor([(1 - level) / 2, (1 + level) / 2]).double())
    return float(difference[different].nanmean()), float(ends[0]), float(ends[1])


def _features(
    observed: ObservedNetwork,
    images: Tensor,
    layers: Sequence[str],
    batch_size: int,
    rectified: bool,
) -> dict[str, Tensor]:
    parts = [
        observed.features(some, layers, rectified=rectified)[1] for some in images.split(batch_size)
    ]
    return {layer: torch.cat([part[layer] for part in parts]) for layer in layers}
