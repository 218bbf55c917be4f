"""Knock-outs: what a network's answers lose when one feature map is replaced.

A projection shows what excites a map; this says what depends on it. What we decided:

- *Three replacements.* `zero`: the map is silent. `mean`: everywhere its mean over images and
  positions, which says nothing about the image but keeps the level that the layers above are used
  to. `resample`: the map of another image of the set, each image's once; values that occur.
- *The effect on an image* is by how much the log-probability of the network's own answer falls (its
  answer with all maps, whether right or not), in nats: no labels are needed.
- *Classes gained and lost* are counted in probability, summed over the images: what leaves one
  class comes to others, and the sum over the classes is 0.

The layers below are run once for each batch of images, and those above once for each replacement.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from zf_lightning.analysis.observed import ObservedNetwork, check_scores
from zf_lightning.graph import Rerun, capture

REPLACEMENTS = ("zero", "mean", "resample")


@dataclass(frozen=True)
class Effects:
    """Of one replacement, for M maps, N images and K classes; float64 on the CPU."""

    #: `[M, N]`: fall of the log-probability of the image's answer, in nats.
    fall: Tensor
    #: `[M, N]` int64: the most probable class.
    answers: Tensor
    #: `[M, K]`: probability that a class gains, summed over the images.
    gained: Tensor


@dataclass(frozen=True)
class Knockouts:
    """Some maps of a layer, each replaced in turn."""

    maps: tuple[int, ...]
    #: `[N]`: the most probable class with all maps as they are.
    answers: Tensor
    #: `[M, N]`: the largest activation of each map.
    activations: Tensor
    #: By replacement.
    effects: dict[str, Effects]


def knock_out(
    network: nn.Module | ObservedNetwork,
    images: Tensor,
    layer: str,
    maps: Sequence[int],
    *,
    replacements: Sequence[str] = REPLACEMENTS,
    batch_size: int = 64,
    seed: int = 0,
    on_pass: Callable[[], object] = lambda: None,
) -> Knockouts:
    """Replace each of some feature maps of a layer, by itself.

    Args:
        network: takes images and returns `[N, classes]`, before a softmax.
        images: `[N, 3, H, W]` as the network takes them; for `resample` at least two.
        replacements: of `REPLACEMENTS`.
        seed: decides whose map replaces an image's.
        on_pass: called after each map of each batch.

    Raises UserError for a layer that does not exist, or whose maps cannot be changed.
    """
    graph = ObservedNetwork.of(network).graph
    partners = _partners(len(images), seed)

    def maps_of(chosen: Tensor) -> Tensor:
        return capture(graph, images[chosen.to(images.device)], [layer], only=True)[1][layer]

    batches = torch.arange(len(images)).split(batch_size)
    means = torch.zeros(0)
    if "mean" in replacements:
        sums = [_means(maps_of(batch)).sum(0) for batch in batches]
        means = torch.stack(sums).sum(0) / len(images)
    answers, activations = [], []
    found: dict[str, list[Effects]] = {replacement: [] for replacement in replacements}
    for batch in batches:
        rerun = Rerun(graph, layer, images[batch.to(images.device)])
        before = check_scores(rerun.output, len(batch)).double().log_softmax(1).cpu()
        own = before.argmax(1)
        answers.append(own)
        chosen = rerun.maps[:, list(maps)]
        activations.append(chosen.reshape(*chosen.shape[:2], -1).amax(2).double().cpu().T)
        others = maps_of(partners[batch]) if "resample" in replacements else torch.zeros(0)
        after: dict[str, list[Tensor]] = {replacement: [] for replacement in replacements}
        for number in maps:
            values: dict[str, Any] = {"zero": 0.0}
            if "mean" in replacements:
                values["mean"] = means[number].item()
            if "resample" in replacements:
                values["resample"] = others[:, number]
            for replacement in replacements:
                value = values[replacement]

                def replace(maps: Tensor, number: int = number, value: Any = value) -> None:
                    maps[:, number] = value

                scores = check_scores(rerun(replace), len(batch))
                after[replacement].append(scores.double().log_softmax(1).cpu())
            on_pass()
        for replacement, scores_of_maps in after.items():
            found[replacement].append(_effects(before, torch.stack(scores_of_maps)))
    return Knockouts(
        tuple(maps),
        torch.cat(answers),
        torch.cat(activations, 1),
        {replacement: _joined(of_batches) for replacement, of_batches in found.items()},
    )


def _effects(before: Tensor, after: Tensor) -> Effects:
    """Of log-probabilities `[N, K]` and, with each map replaced, `[M, N, K]`."""
    answers = before.argmax(1, keepdim=True)
    fall = (before - after).gather(2, answers.expand(len(after), -1, 1))[..., 0]
    return Effects(fall, after.argmax(2), (after.exp() - before.exp()).sum(1))


def _joined(batches: Sequence[Effects]) -> Effects:
    return Effects(
        torch.cat([one.fall for one in batches], 1),
        torch.cat([one.answers for one in batches], 1),
        torch.stack([one.gained for one in batches]).sum(0),
    )


@dataclass(frozen=True)
class Ranked:
    """The images that excite each map most, beside those whose answers depend on it most."""

    #: `[M, k]`: images, first the strongest.
    by_activation: Tensor
    by_relevance: Tensor
    #: `[M]` in 0..1: share of the one that is in the other; by chance k / N.
    shared: Tensor
    #: `[M]` in -1..1: Spearman's, of activation and fall over the images, or NaN.
    correlation: Tensor


def rank_images(activations: Tensor, fall: Tensor, *, k: int = 9) -> Ranked:
    """Rank images by the activations `[M, N]` of maps, and by what replacing these costs them."""
    k = min(k, activations.shape[1])
    first, second = (
        values.argsort(dim=1, descending=True, stable=True)[:, :k] for values in (activations, fall)
    )
    shared = (first[:, :, None] == second[:, None]).any(2).double().mean(1)
    pairs = zip(activations, fall, strict=True)
    correlation = [
        float(spearmanr(one, other).statistic) if one.unique().numel() > 1 else float("nan")
        for one, other in pairs
    ]
    return Ranked(first, second, shared, torch.tensor(correlation, dtype=torch.float64))


def _means(maps: Tensor) -> Tensor:
    """Of each image and map, over positions: float64 `[N, C]`."""
    return maps.double().flatten(2).mean(2) if maps.dim() > 2 else maps.double()


def _partners(images: int, seed: int) -> Tensor:
    """For each image another one, so that each is one's partner: along a random ring."""
    ring = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
    partners = torch.empty_like(ring)
    partners[ring] = ring.roll(-1)
    return partners
