"""What an atlas knows of one layer: its feature maps' strongest images, and what excited them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mismatch:
    """An activation that was not found again when its unit was projected."""

    feature_map: int
    rank: int
    index: int
    recorded: float
    recomputed: float


class Score(NamedTuple):
    """A number about a feature map's pictures: the mean of some samples, and its standard error."""

    mean: float
    #: None for a single sample.
    error: float | None
    samples: int


@dataclass
class LayerAtlas:
    """What is known of one layer: C feature maps, k images each, M maps with tiles of `h`×`w`.

    Pixels are in the order RGB, tensors `[C, k, ...]` strongest image first. Where only the tile of
    the strongest image was kept, tiles are `[M, 1, ...]`.
    """

    layer: str
    #: Receptive field in pixels, height and width; tiles are smaller where the image is.
    receptive_field: tuple[int, int]
    #: `[C, k]` float32; -inf where there was no image. 0 after a ReLU: nothing excited the map.
    activations: Tensor
    #: `[C, k]` int64, of the dataset; -1 where there was no image.
    indices: Tensor
    #: `[C, k]` int64, the image's class; -1 where it is not known.
    labels: Tensor
    #: `[C, k]` int64, the unit's position in the feature map.
    rows: Tensor
    columns: Tensor
    #: `[C, k, 4]` int64: top, left, height, width of what the unit sees, in pixels of the
    #: network's input; negative where it begins beyond the border.
    windows: Tensor
    #: `[C]` int64: in how many images the feature map held a NaN.
    nans: Tensor
    #: `[M]` int64: the feature maps that have tiles.
    drawn: Tensor
    #: `[M, k, 2]` int64: first row and column of each tile in the image.
    tiles: Tensor
    #: `[M, k, 3, h, w]` uint8: what the unit saw; 0 beyond the border.
    patches: Tensor
    #: `[M, k, h, w]` bool: False beyond the border.
    inside: Tensor
    #: `[M, k, 3, h, w]` int16: the projections, in steps of `levels.in_steps`.
    levels: Tensor
    #: `[M, k]` int64: how many steps lie between zero and the peak of each projection.
    steps: Tensor
    #: `[M, k]` float32: the largest magnitude of each projection, in units of the input.
    peaks: Tensor
    mismatches: list[Mismatch] = field(default_factory=list)
    #: Of the drawn feature maps, by name: samples float32 `[M, n]`, NaN where there is none.
    #: What they mean: `zf_lightning/analysis/map_scores.py`.
    scores: dict[str, Tensor] = field(default_factory=dict)

    def not_scored(self, size: int) -> Tensor:
        """No samples `[M, size]` of the drawn feature maps."""
        return torch.full((len(self.drawn), size), torch.nan)

    def scores_of(self, place: int) -> dict[str, Score]:
        """What is known of the drawn feature map at a place in `drawn`."""
        found = {}
        for name, samples in self.scores.items():
            values = samples[place][samples[place].isfinite()].double()
            count = len(values)
            if count:
                error = float(values.std()) / math.sqrt(count) if count > 1 else None
                found[name] = Score(float(values.mean()), error, count)
        return found

    def mean_scores(self) -> dict[str, float]:
        """Means over the drawn feature maps of which a score is known."""
        means = {name: samples.nanmean(1).nanmean() for name, samples in self.scores.items()}
        return {name: float(mean) for name, mean in means.items() if mean.isfinite()}

    @property
    def clipped(self) -> bool:
        """Whether the receptive field exceeds the image, so that tiles show less than it."""
        return tuple(self.patches.shape[-2:]) != tuple(self.receptive_field)

    def select(self, feature_maps: Sequence[int]) -> "LayerAtlas":
        """The same with the tiles of some of the drawn feature maps, in their order."""
        where = {int(number): place for place, number in enumerate(self.drawn)}
        places = torch.tensor([where[number] for number in feature_maps], dtype=torch.int64)
        scores = {name: samples[places] for name, samples in self.scores.items()}
        return replace(self, scores=scores, **{name: getattr(self, name)[places] for name in TILES})

    def strongest(self) -> "LayerAtlas":
        """The same with the tile of each drawn feature map's strongest image alone."""
        tiles = {name: getattr(self, name)[:, :1] for name in TILES if name != "drawn"}
        return replace(self, **tiles)

    @classmethod
    def joined(cls, parts: Sequence["LayerAtlas"]) -> "LayerAtlas":
        """One layer of several parts, each with the tiles of other feature maps."""
        tiles: dict[str, Any] = {
            name: torch.cat([getattr(part, name) for part in parts]) for name in TILES
        }
        # A part knows the labels of the images that it has read.
        labels = torch.stack([part.labels for part in parts]).amax(0)
        mismatches = [one for part in parts for one in part.mismatches]
        sizes = {name: len(some[0]) for part in parts for name, some in part.scores.items()}
        scores = {
            name: torch.cat([part.scores.get(name, part.not_scored(size)) for part in parts])
            for name, size in sizes.items()
        }
        return replace(parts[0], labels=labels, mismatches=mismatches, scores=scores, **tiles)

    @property
    def projections(self) -> Tensor:
        """`[M, k, 3, h, w]` float32, comparable between images and feature maps."""
        return self.levels.float() * self.step_sizes[..., None, None, None]

    @property
    def step_sizes(self) -> Tensor:
        """`[M, k]` float32: what a step of `levels` is in units of the input."""
        return self.peaks / self.steps


#: What there is for each drawn feature map.
TILES = ("drawn", "tiles", "patches", "inside", "levels", "steps", "peaks")
