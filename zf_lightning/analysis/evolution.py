"""Evolution of features during training, from the atlases of a run (Sec. 4, Fig. 4).

The paper draws the strongest projection of some feature maps at eight epochs. It says that sudden
jumps come from a change of the strongest image, that lower layers converge within a few epochs, and
that upper layers need 40 to 50. Measured here:

- *Jaccard*: the overlap of a feature map's top-k images at two epochs, intersection over union: 1
  for the same set, 0 for none in common. Images that do not excite the feature map do not count.
- *Similarity*: the cosine between the strongest projections of a feature map at two epochs, pixel
  by pixel within the receptive field.
- A layer has *settled* at the first epoch after which the mean Jaccard with the last epoch, over
  its feature maps, stays at or above a threshold (default 0.5).
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zf_lightning.atlas import Atlas, LayerAtlas
from zf_lightning.errors import UserError

#: The epochs of Fig. 4, counted from 1.
PAPER_EPOCHS = (1, 2, 5, 10, 20, 30, 40, 64)


@dataclass(frozen=True)
class LayerEvolution:
    """Changes of one layer over the E epochs of a run's atlases."""

    layer: str
    #: Counted from 1.
    epochs: tuple[int, ...]
    #: `[E - 1, C]` float64: Jaccard of the top k with the previous atlas; NaN where no image
    #: excites the feature map in either.
    jaccard_with_previous: Tensor
    #: `[E, C]` float64: the same with the last atlas.
    jaccard_with_last: Tensor
    #: `[E - 1, C]` bool: whether the strongest image is not that of the previous atlas.
    jumped: Tensor
    #: `[E - 1, M]` float64: cosine of the strongest projections of the drawn feature maps with
    #: those of the previous atlas; NaN where one is empty.
    similarity_with_previous: Tensor

    def settled(self, threshold: float = 0.5) -> int | None:
        """The epoch at which the layer settled; None if only the last epoch qualifies."""
        means = self.jaccard_with_last.nanmean(1)
        below = (~(means >= threshold)).nonzero()
        place = int(below[-1]) + 1 if len(below) else 0
        return self.epochs[place] if place < len(self.epochs) - 1 else None


def evolution(atlases: Sequence[Atlas]) -> list[LayerEvolution]:
    """Follow each layer through the atlases of one run, in the order of their epochs.

    Raises UserError for fewer than two atlases, or ones of different networks.
    """
    if len(atlases) < 2:
        raise UserError("Evolution compares epochs: it needs atlases of at least two.")
    if any(atlas.epoch is None for atlas in atlases):
        raise UserError("An atlas was made outside training: it has no epoch.")
    ordered = sorted(atlases, key=lambda atlas: atlas.epoch or 0)
    first = ordered[0]
    for other in ordered[1:]:
        if _shapes(first) != _shapes(other):
            raise UserError(
                f"The atlases of epochs {(first.epoch or 0) + 1} and {(other.epoch or 0) + 1} are "
                "of different networks, or drawn with other options: give those of one run."
            )
    return [_layer_evolution(layer, ordered) for layer in first.layers]


def epochs_to_show(available: Sequence[int], wanted: Sequence[int] | None = None) -> list[int]:
    """Epochs, counted from 1, for a figure's columns: those of the paper that the run has.

    With fewer than four of them, evenly spaced epochs of the run, as many as the paper shows.
    Raises UserError if `wanted` names an epoch that the run does not have.
    """
    have = sorted(set(available))
    if wanted is not None:
        missing = [epoch for epoch in wanted if epoch not in have]
        if missing:
            raise UserError(
                f"There is no atlas of epoch {missing[0]}; there are those of "
                f"{', '.join(map(str, have))}."
            )
        return sorted(set(wanted))
    shown = [epoch for epoch in PAPER_EPOCHS if epoch in have]
    if len(shown) >= 4:
        # With a free column, the last epoch shows where the others led.
        room = len(shown) < len(PAPER_EPOCHS) and have[-1] not in shown
        return [*shown, have[-1]] if room else shown
    steps = min(len(have), len(PAPER_EPOCHS))
    places = torch.linspace(0, len(have) - 1, steps).round().to(torch.int64).tolist()
    return [have[place] for place in places]


def jaccard(first: LayerAtlas, second: LayerAtlas) -> Tensor:
    """`[C]` float64: Jaccard of the top-k images of each feature map; NaN if both are empty."""
    values = []
    for one, other in zip(_images(first), _images(second), strict=True):
        together = one | other
        values.append(len(one & other) / len(together) if together else float("nan"))
    return torch.tensor(values, dtype=torch.float64)


def similarity(first: LayerAtlas, second: LayerAtlas) -> Tensor:
    """`[M]` float64: cosine of the strongest projections of the drawn feature maps."""
    one = first.levels[:, 0].double().flatten(1)
    other = second.levels[:, 0].double().flatten(1)
    norms = one.norm(dim=1) * other.norm(dim=1)
    return torch.where(norms > 0, (one * other).sum(1) / norms, torch.nan)


def settled_maps(
    atlases: Iterable[Atlas], last: Atlas, threshold: float = 0.5
) -> dict[str, list[int | None]]:
    """By layer, the epoch from which on each feature map's Jaccard with the last stays so high.

    None where only the last epoch qualifies, or no image excites the feature map in the end.
    Atlases are in the order of their epochs; layers that one of them lacks are left out.
    """
    found: dict[str, list[tuple[int, Tensor]]] = {name: [] for name in last.layers}
    for atlas in atlases:
        for name, layer in last.layers.items():
            other = atlas.layers.get(name)
            if other is None or len(other.indices) != len(layer.indices):
                found.pop(name, None)
            elif name in found:
                found[name].append(((atlas.epoch or 0) + 1, jaccard(other, layer)))
    settled: dict[str, list[int | None]] = {}
    for name, rows in found.items():
        since: list[int | None] = [None] * len(last.layers[name].indices)
        # The last epoch is as itself.
        for number in range(len(since)):
            for epoch, values in reversed(rows[:-1]):
                if not values[number] >= threshold:
                    break
                since[number] = epoch
        settled[name] = since
    return settled


def _layer_evolution(layer: str, atlases: Sequence[Atlas]) -> LayerEvolution:
    found = [atlas.layers[layer] for atlas in atlases]
    pairs = list(itertools.pairwise(found))
    return LayerEvolution(
        layer,
        tuple((atlas.epoch or 0) + 1 for atlas in atlases),
        torch.stack([jaccard(one, other) for one, other in pairs]),
        torch.stack([jaccard(one, found[-1]) for one in found]),
        torch.stack([one.indices[:, 0] != other.indices[:, 0] for one, other in pairs]),
        torch.stack([similarity(one, other) for one, other in pairs]),
    )


def _images(layer: LayerAtlas) -> list[set[int]]:
    """The top-k images of each feature map that excite it."""
    excited = (layer.activations > 0) & (layer.indices >= 0)
    return [
        set(indices[mask].tolist()) for indices, mask in zip(layer.indices, excited, strict=True)
    ]


def _shapes(atlas: Atlas) -> list[tuple[str, int, list[int]]]:
    return [
        (name, len(layer.activations), layer.drawn.tolist()) for name, layer in atlas.layers.items()
    ]
