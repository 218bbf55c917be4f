"""How every feature map responds to a whole stream of images, not only to its strongest few.

An image counts with the strongest activation of each feature map. Activations are counted in
buckets, eight to a factor of two, so that a histogram has the same width of bucket (at most 12.5 %
of its value) at every scale; of each bucket one image is kept as its example. The counts are
integers and the example is the image with the smallest index, so that the result is the same in
whatever order the images come and however many processes share them.
"""

import functools
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from zf_lightning.atlas.top_activations import (
    EMPTY_INDEX,
    EMPTY_KEY,
    INDEX,
    KEY,
    ROW,
    Strongest,
    TopActivations,
    TopImages,
    keys_of,
    positions_of,
    state_name,
    top_images,
)

#: Buckets of a factor of two: the first bits of a float32's fraction.
BUCKETS_AN_OCTAVE = 8
#: Magnitudes outside 2^-16 to 2^16 are counted in the outermost buckets.
OCTAVES = 16
_LOWEST = (127 - OCTAVES) * BUCKETS_AN_OCTAVE
#: Of one sign.
_ONE_SIDE = 2 * OCTAVES * BUCKETS_AN_OCTAVE
#: Negative, zero, and positive.
BUCKETS = 2 * _ONE_SIDE + 1
#: A count and an example (`top_activations`) of each bucket.
BYTES_A_MAP = BUCKETS * 8 * (1 + 4)


class Distribution:
    """The strongest activations of C feature maps in all images that were seen.

    Args:
        counts: `[C, BUCKETS]` int64, how many images are in each bucket.
        examples: of each bucket one image, `[C, BUCKETS]`; its index is -1 where there is none.
    """

    # As `TopImages` no dataclass: torchmetrics refuses frozen ones, and copies others anew.
    def __init__(self, counts: Tensor, examples: TopImages) -> None:
        self.counts = counts
        self.examples = examples

    @property
    def images(self) -> Tensor:
        """`[C]` int64: how many images were counted: all in which the map was a number."""
        return self.counts.sum(1)

    @property
    def excited(self) -> Tensor:
        """`[C]` float64: the share of images that excite the map, its activation being above 0."""
        above = self.counts[:, _ONE_SIDE + 1 :].sum(1)
        return above.double() / self.images.clamp(min=1)

    def at_quantiles(self, quantiles: Sequence[float]) -> TopImages:
        """An example of each quantile, `[C, len(quantiles)]`.

        A quantile q is the activation that a share q of the images does not exceed; its example
        lies in the same bucket.
        """
        total = self.images[:, None]
        shares = torch.tensor(quantiles, dtype=torch.float64, device=total.device)
        # Of 1,000 images the quantile 0.9 is the 900th, whatever 0.9 is in binary.
        rank = (shares * total - 1e-9).ceil().clamp(min=1).to(torch.int64)
        bucket = torch.searchsorted(self.counts.cumsum(1), rank).clamp(max=BUCKETS - 1)
        of_each = self.examples
        return TopImages(
            of_each.activations.gather(1, bucket),
            of_each.indices.gather(1, bucket),
            of_each.rows.gather(1, bucket),
            of_each.columns.gather(1, bucket),
            of_each.nans,
        )

    def histogram(self, feature_map: int) -> list[tuple[float, float, int]]:
        """The buckets of a map that have images, ascending: from, to, and how many images.

        The outermost buckets reach to infinity, that of zero is (0, 0).
        """
        counts = self.counts[feature_map]
        places = counts.nonzero()[:, 0].tolist()
        return [(*bucket_limits(place), int(counts[place])) for place in places]


def bucket_of(values: Tensor) -> Tensor:
    """int64: the bucket of each value."""
    bits = values.abs().float().view(torch.int32) >> 20
    magnitude = (bits.to(torch.int64) - _LOWEST).clamp(0, _ONE_SIDE - 1) + 1
    return _ONE_SIDE + magnitude * values.sign().to(torch.int64)


def bucket_limits(bucket: int) -> tuple[float, float]:
    """The values between which a bucket lies; the limit that is nearer to 0 belongs to it."""
    magnitude = abs(bucket - _ONE_SIDE)
    if not magnitude:
        return 0.0, 0.0

    def limit(number: int) -> float:
        octave, part = divmod(number, BUCKETS_AN_OCTAVE)
        return math.ldexp(1 + part / BUCKETS_AN_OCTAVE, octave - OCTAVES)

    low = 0.0 if magnitude == 1 else limit(magnitude - 1)
    high = math.inf if magnitude == _ONE_SIDE else limit(magnitude)
    return (low, high) if bucket > _ONE_SIDE else (-high, -low)


class Survey:
    """What `ActivationSurvey` found, by layer.

    Args:
        top: the strongest images.
        distributions: of all images.
        indices: the images, int64 `[N]`, ascending; None if their activations were not kept.
        values: their strongest activations, float32 `[N, C]`; empty if they were not kept.
    """

    def __init__(
        self,
        top: dict[str, TopImages],
        distributions: dict[str, Distribution],
        indices: Tensor | None,
        values: dict[str, Tensor],
    ) -> None:
        self.top = top
        self.distributions = distributions
        self.indices = indices
        self.values = values


class ActivationSurvey(TopActivations):
    """The `k` strongest images of every feature map, and the distribution of all.

    Each image comes once.

    Args:
        feature_maps, k: see `TopActivations`.
        keep_values: keep the strongest activations of each image, 4 bytes a feature map.
    """

    image_indices: list[Tensor]
    image_values: list[Tensor]

    def __init__(
        self, feature_maps: Mapping[str, int], *, k: int = 9, keep_values: bool = False
    ) -> None:
        super().__init__(feature_maps, k=k)
        self.keep_values = keep_values
        for layer, maps in self.feature_maps.items():
            counts = torch.zeros(maps, BUCKETS, dtype=torch.int64)
            self.add_state(
                state_name("counts", layer), counts, dist_reduce_fx="sum", persistent=True
            )
            examples = torch.zeros(maps, BUCKETS, 4, dtype=torch.int64)
            examples[..., KEY], examples[..., INDEX] = EMPTY_KEY, EMPTY_INDEX
            self.add_state(
                state_name("examples", layer), examples, dist_reduce_fx=_first, persistent=True
            )
        for name in ("image_indices", "image_values") if keep_values else ():
            self.add_state(name, [], dist_reduce_fx="cat", persistent=True)
        if keep_values:
            # A process that sees no image has the same states as the others.
            self.image_indices.append(torch.empty(0, dtype=torch.int64))
            self.image_values.append(torch.empty(0, sum(self.feature_maps.values())))

    def _take(self, batch: Mapping[str, Strongest], indices: Tensor, valid: Tensor) -> None:
        super()._take(batch, indices, valid)
        for layer in self.feature_maps:
            maps, strongest, _ = batch[layer]
            self._count(layer, maps, strongest, indices, valid)
        if self.keep_values:
            rows = [batch[layer][1] for layer in self.feature_maps]
            self.image_indices.append(indices[valid])
            self.image_values.append(torch.cat(rows, 1)[valid])

    def compute(self) -> Survey:  # type: ignore[override]
        """What was found over all processes, each of which must call it."""
        distributions = {}
        for layer in self.feature_maps:
            counts = getattr(self, state_name("counts", layer)).clone()
            examples = getattr(self, state_name("examples", layer))
            nans = getattr(self, state_name("nans", layer)).clone()
            distributions[layer] = Distribution(counts, top_images(examples, nans))
        indices, values = None, {}
        if self.keep_values:
            indices, order = dim_zero_cat(self.image_indices).sort()
            of_layers = dim_zero_cat(self.image_values)[order].split(
                list(self.feature_maps.values()), 1
            )
            values = dict(zip(self.feature_maps, of_layers, strict=True))
        return Survey(super().compute(), distributions, indices, values)

    def _count(
        self, layer: str, maps: Tensor, strongest: Tensor, indices: Tensor, valid: Tensor
    ) -> None:
        counted = valid[:, None] & ~strongest.isnan()
        channels = torch.arange(maps.shape[1], device=maps.device).expand_as(strongest)
        # A bucket of a feature map, in the table of all of them.
        places = channels * BUCKETS + bucket_of(strongest.nan_to_num(0))
        counts_name, examples_name = state_name("counts", layer), state_name("examples", layer)
        counts: Tensor = getattr(self, counts_name)
        found = torch.bincount(places[counted], minlength=counts.numel())
        setattr(self, counts_name, counts + found.view_as(counts))
        examples: Tensor = getattr(self, examples_name)
        table = examples.view(-1, 4).clone()
        offered = indices[:, None].expand_as(strongest).masked_fill(~counted, EMPTY_INDEX)
        first = table[:, INDEX].scatter_reduce(0, places.flatten(), offered.flatten(), "amin")
        new = counted & (offered < table[places, INDEX]) & (offered == first[places])
        image, channel = new.nonzero().unbind(1)
        if not len(image):
            return
        rows, columns = positions_of(maps, image, channel, strongest[image, channel])
        entries = (keys_of(strongest[image, channel]), indices[image], rows, columns)
        table[places[image, channel]] = torch.stack(entries, 1)
        setattr(self, examples_name, table.view_as(examples))


def _first(tables: Tensor) -> Tensor:
    """Of the examples `[P, C, BUCKETS, 4]` of several processes those with the smallest index."""
    return functools.reduce(
        lambda one, other: other.where(other[..., INDEX:ROW] < one[..., INDEX:ROW], one), tables
    )
