"""The two-alternative forced choice, by machine: do pictures of a map tell what excites it?

After Borowski et al. (ICLR 2021), who asked people, and Zimmermann, Klindt and Brendel (NeurIPS
2024), who let the features of a network answer: shown what a feature map responds to, which of two
further patches excites it? What we decided:

- *References* are the `k` strongest images of the map: their patches, their projections, or both.
  Theirs have weakly exciting ones too; those have no projection, and every kind of reference is
  asked alike here. So the numbers are not theirs.
- *Queries* are pairs: of images that follow the references in strength, and of the weakest. The
  patch of the second lies where that of the first does, so that places and borders tell nothing.
- *The answer* is the query that is more like the references: the mean cosine of the encoder's
  features. For both kinds of reference the two cosines are added, each in units of its deviation
  over the queries of the map. A tie counts half.
- *Controls*: the references of another map of the layer; queries in random order (chance, 0.5).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zf_lightning.atlas import TopImages
from zf_lightning.deconv import Deconvnet, Units
from zf_lightning.deconv.receptive_field import ReceptiveField, crop

#: From pictures uint8 `[N, 3, h, w]`, all of one size, to features `[N, D]`.
Encoder = Callable[[Tensor], Tensor]
KINDS = ("patches", "projections", "both")
OTHER, SHUFFLED = "{}, of another map", "patches, queries shuffled"
GREY = 128
#: Share of a projection's values that the grey scale covers, as in the pictures.
COVERED = 0.97


@dataclass(frozen=True)
class Questions:
    """What is asked of one map: pictures uint8."""

    #: `[k, 3, h, w]`: the strongest images' patches, and their projections.
    patches: Tensor
    projections: Tensor
    #: `[T, 2, 3, h, w]`: first the one that excites the map.
    queries: Tensor


def askable(activations: Tensor, *, k: int, trials: int) -> Tensor:
    """Of maps whose images' activations `[C, N]` are in falling order, those with a right answer.

    `[C]` bool: the weakest of the exciting queries must exceed the strongest of the others.
    """
    images = activations.shape[1]
    if images < k + 2 * trials:
        return torch.zeros(len(activations), dtype=torch.bool)
    return activations[:, k + trials - 1] > activations[:, images - trials].clamp_min(0)


def questions(
    deconvnet: Deconvnet,
    images: Tensor,
    display: Tensor,
    ordered: Units,
    field: ReceptiveField,
    *,
    k: int,
    trials: int,
) -> Questions:
    """Ask about one map.

    Args:
        images, display: `[N, 3, H, W]`, as the network takes them and as they look (uint8).
        ordered: the map's unit in each of the N images, the strongest first.
        field: of the units.
    """
    strong, query = ordered[:k], ordered[k : k + trials]
    projected = deconvnet.project_windows(images, strong).pixels.cpu()
    weak = ordered.images.flip(0)[:trials]
    shown = [
        _patches(display, which.cpu(), units, field)
        for which, units in (
            (strong.images, strong),
            (query.images, query),
            (weak, query),
        )
    ]
    return Questions(shown[0], _drawn(projected), torch.stack(shown[1:], 1))


def ask(
    deconvnet: Deconvnet,
    images: Tensor,
    display: Tensor,
    layer: str,
    ordered: TopImages,
    maps: Iterable[int],
    *,
    k: int,
    trials: int,
) -> list[Questions]:
    """Ask about some maps of a layer.

    Args:
        images, display: see `questions`.
        ordered: of the layer, all N images of every map, the strongest first.
        maps: of those that are `askable`.
    """
    field = deconvnet.receptive_fields([layer], (images.shape[2], images.shape[3]))[layer]
    asked = []
    for number in maps:
        at = (ordered.indices, ordered.rows, ordered.columns)
        image, row, column = (values[number].to(images.device) for values in at)
        units = Units(layer, image, torch.full_like(image, number), row, column)
        asked.append(questions(deconvnet, images, display, units, field, k=k, trials=trials))
    return asked


def answer(asked: Sequence[Questions], encode: Encoder, *, seed: int = 0) -> dict[str, Tensor]:
    """How often each kind of reference finds the query that excites its map.

    Returns `[M, T]` of 1 (right), 0.5 (no difference) and 0 by kind, with the controls.
    """
    found = []
    for one in asked:
        trials = len(one.queries)
        pictures = torch.cat([one.patches, one.projections, one.queries.flatten(0, 1)])
        features = F.normalize(encode(pictures).double().cpu(), dim=1)
        references, queries = features[: -2 * trials], features[-2 * trials :]
        found.append((references.unflatten(0, (2, -1)), queries.view(trials, 2, -1)))
    right: dict[str, list[Tensor]] = {}
    for number, (references, queries) in enumerate(found):
        others = found[(number + 1) % len(found)][0]
        for name, of_map in (("{}", references), (OTHER, others)):
            alike = torch.einsum("rkd,tqd->rtq", of_map, queries) / of_map.shape[1]
            scaled = alike / alike.flatten(1).std(1).clamp_min(1e-12)[:, None, None]
            values = (*alike, scaled.sum(0))
            for kind, similarity in zip(KINDS, values, strict=True):
                difference = similarity[:, 0] - similarity[:, 1]
                right.setdefault(name.format(kind), []).append((difference.sign() + 1) / 2)
    results = {name: torch.stack(values) for name, values in right.items()}
    flips = torch.rand(
        results["patches"].shape, generator=torch.Generator().manual_seed(seed)
    ).round()
    results[SHUFFLED] = (results["patches"] - flips).abs()
    return results


def _patches(display: Tensor, which: Tensor, units: Units, field: ReceptiveField) -> Tensor:
    """What some images show where units are, uint8 `[U, 3, h, w]`; beyond the border grey."""
    tops, lefts = field.tiles(units.rows.cpu(), units.columns.cpu())
    found, inside = crop(display, which, tops, lefts, field.tile_size)
    return found.where(inside[:, None], torch.tensor(GREY, dtype=torch.uint8))


def _drawn(projections: Tensor) -> Tensor:
    """Projections `[U, 3, h, w]` as they are drawn: zero is grey, each on a scale of its own."""
    scale = projections.abs().flatten(1).quantile(COVERED, dim=1).clamp_min(1e-12)
    drawn = GREY + 127 * (projections / scale[:, None, None, None]).clamp(-1, 1)
    return drawn.round().to(torch.uint8)
