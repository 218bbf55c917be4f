"""From the strongest images of each feature map to their patches and projections (Fig. 2)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from zf_lightning.atlas.file import Atlas
from zf_lightning.atlas.layer import LayerAtlas, Mismatch
from zf_lightning.atlas.levels import in_steps
from zf_lightning.atlas.top_activations import TopImages
from zf_lightning.deconv.deconvnet import Deconvnet
from zf_lightning.deconv.receptive_field import ReceptiveField, cut_out
from zf_lightning.deconv.units import Units, WindowProjections
from zf_lightning.errors import UserError


@dataclass(frozen=True)
class ImageBatch:
    """Some images of a dataset, as they are shown and as the network takes them."""

    #: `[N, 3, H, W]` uint8 RGB, cut and resized for the network but not normalised.
    display: Tensor
    #: `[N, 3, H, W]` float, the network's input.
    inputs: Tensor
    #: `[N]` int64, the classes; -1 where it is not known.
    labels: Tensor


class Scorer(Protocol):
    """Measures the pictures of feature maps, as `zf_lightning/analysis/map_scores.py` does."""

    def key(self, layer: str, maps: Sequence[int]) -> str:
        """All that the scores of some maps depend on, beside the network and the images."""
        ...

    def of_units(
        self, units: Units, ranks: Tensor, images: Tensor, projections: Tensor
    ) -> Mapping[str, Tensor]:
        """Samples `[U]` by name: of units in `images`, ranks in their maps and `[U, 3, h, w]`."""
        ...

    def of_maps(self, layer: str, maps: Sequence[int]) -> Mapping[str, Tensor]:
        """Samples `[M, n]` by name, for feature maps of a layer."""
        ...


def build_atlas(
    deconvnet: Deconvnet,
    top: Mapping[str, TopImages],
    images_of: Callable[[list[int]], ImageBatch],
    *,
    input_size: tuple[int, int],
    maps: Mapping[str, Sequence[int]],
    label_of: Callable[[int], int] | None = None,
    name_of: Callable[[int], str] | None = None,
    epoch: int | None = None,
    classes: Sequence[str] = (),
    split: str | None = None,
    tolerance: float = 1e-4,
    on_projected: Callable[[int], Any] | None = None,
    scorer: Scorer | None = None,
) -> Atlas:
    """Project the top images of some feature maps and cut out what their units saw.

    Only these images go through the network, each once for all layers, and never more than
    `deconvnet.batch_size` of them at a time. Each activation is computed again and compared with
    the recorded one; what differs is listed in `LayerAtlas.mismatches`.

    Args:
        top: the strongest images of each layer, of every feature map.
        images_of: from dataset indices to their images, in the same order.
        input_size: height and width of the network's input in pixels.
        maps: the feature maps of each layer to be drawn.
        label_of: the class of a dataset index, for the feature maps that are not drawn.
        name_of: the file name of a dataset index, recorded for the feature maps that are drawn.
        epoch: recorded in the atlas.
        classes: names of the classes, by label.
        split: of the dataset, recorded in the atlas.
        tolerance: relative difference from which a recomputed activation is a mismatch.
        on_projected: told how many units more are done.
        scorer: measures the pictures, where there is one.

    Raises:
        UserError: a feature map does not exist, or an operation below a layer has no rule.
    """
    receptive_fields = deconvnet.receptive_fields(list(top), input_size)
    builders = {
        layer: _LayerBuilder(layer, found, receptive_fields[layer], maps.get(layer, ()), label_of)
        for layer, found in top.items()
    }
    wanted = [builder.wanted() for builder in builders.values()]
    indices = sorted(set(torch.cat(wanted).tolist())) if wanted else []
    for start in range(0, len(indices), deconvnet.batch_size):
        some = indices[start : start + deconvnet.batch_size]
        batch = images_of(some)
        if tuple(batch.inputs.shape[-2:]) != tuple(input_size):
            raise UserError(
                f"The images have {list(batch.inputs.shape[-2:])} pixels, not {list(input_size)}."
            )
        here = {
            layer: places
            for layer, builder in builders.items()
            if len((places := builder.places(some))[0])
        }
        units = [
            builders[layer].units(places, some, deconvnet.device) for layer, places in here.items()
        ]
        inputs = batch.inputs.to(deconvnet.device)
        layers = [*here]
        for number, part, found in deconvnet.project_parts(inputs, units):
            layer, asked = layers[number], units[number][part]
            places = here[layer][0][part.cpu()], here[layer][1][part.cpu()]
            builders[layer].put(places, batch, asked.images.cpu(), found, tolerance)
            if scorer is not None:
                of_units = scorer.of_units(asked, places[1], inputs, found.pixels)
                builders[layer].score(places, of_units)
            if on_projected is not None:
                on_projected(len(asked))
    if scorer is not None:
        for layer, builder in builders.items():
            builder.atlas.scores |= scorer.of_maps(layer, builder.atlas.drawn.tolist())
    return Atlas(
        layers={layer: builder.atlas for layer, builder in builders.items()},
        input_size=input_size,
        rule=deconvnet.method.name,
        norm=deconvnet.method.norm,
        epoch=epoch,
        classes=tuple(classes),
        split=split,
        names={} if name_of is None else {index: name_of(index) for index in indices},
        scoring=_scoring(scorer, builders),
    )


def _scoring(scorer: Scorer | None, builders: Mapping[str, "_LayerBuilder"]) -> str:
    if scorer is None:
        return ""
    return " ".join(
        scorer.key(layer, builder.atlas.drawn.tolist()) for layer, builder in builders.items()
    )


class _LayerBuilder:
    """One layer's atlas while it is being filled. Places are `(drawn map, rank)` pairs."""

    def __init__(
        self,
        layer: str,
        top: TopImages,
        field: ReceptiveField,
        drawn: Sequence[int],
        label_of: Callable[[int], int] | None,
    ) -> None:
        missing = [number for number in drawn if not 0 <= number < len(top.indices)]
        if missing:
            raise UserError(f"{layer} has no feature map {missing[0]}: it has {len(top.indices)}.")
        indices, rows, columns = (values.cpu() for values in (top.indices, top.rows, top.columns))
        labels = torch.full_like(indices, -1)
        if label_of is not None:
            known = {index: label_of(index) for index in set(indices[indices >= 0].tolist())}
            labels = torch.tensor(
                [[known.get(index, -1) for index in row] for row in indices.tolist()],
                dtype=torch.int64,
            ).view_as(indices)
        size = torch.tensor(field.size).expand(*indices.shape, 2)
        starts = [
            field.offset[axis] + at * field.jump[axis] for axis, at in ((0, rows), (1, columns))
        ]
        chosen = torch.tensor(list(drawn), dtype=torch.int64)
        tops, lefts = field.tiles(rows[chosen], columns[chosen])
        shape = (*indices[chosen].shape, 3, *field.tile_size)
        self.field = field
        self.atlas = LayerAtlas(
            layer=layer,
            receptive_field=field.size,
            activations=top.activations.cpu(),
            indices=indices,
            labels=labels,
            rows=rows,
            columns=columns,
            windows=torch.cat([torch.stack(starts, -1), size], -1),
            nans=top.nans.cpu(),
            drawn=chosen,
            tiles=torch.stack([tops, lefts], -1),
            patches=torch.zeros(shape, dtype=torch.uint8),
            inside=torch.zeros(*shape[:2], *shape[3:], dtype=torch.bool),
            levels=torch.zeros(shape, dtype=torch.int16),
            steps=torch.ones(shape[:2], dtype=torch.int64),
            peaks=torch.zeros(shape[:2]),
        )

    def wanted(self) -> Tensor:
        """Dataset indices of the images whose units are drawn."""
        indices = self.atlas.indices[self.atlas.drawn]
        return indices[indices >= 0]

    def places(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Where the drawn feature maps have one of these images."""
        found = torch.isin(self.atlas.indices[self.atlas.drawn], torch.tensor(indices))
        drawn, rank = found.nonzero(as_tuple=True)
        return drawn, rank

    def units(
        self, places: tuple[Tensor, Tensor], indices: Sequence[int], device: torch.device
    ) -> Units:
        """The units at `places`, in a batch of the images `indices` (ascending)."""
        feature_maps = self.atlas.drawn[places[0]]
        at = (feature_maps, places[1])
        images = torch.searchsorted(torch.tensor(indices), self.atlas.indices[at])
        numbers = (images, feature_maps, self.atlas.rows[at], self.atlas.columns[at])
        return Units(self.atlas.layer, *(values.to(device) for values in numbers))

    def put(
        self,
        places: tuple[Tensor, Tensor],
        batch: ImageBatch,
        images: Tensor,
        projected: WindowProjections,
        tolerance: float,
    ) -> None:
        """Fill the tiles at `places` from a batch, and compare the activations."""
        atlas, activations = self.atlas, projected.activations.cpu()
        tops, lefts = atlas.tiles[places].unbind(-1)
        patches = cut_out(batch.display.cpu(), images, tops, lefts, self.field.tile_size)
        atlas.patches[places], atlas.inside[places] = patches, projected.inside.cpu()
        # Some at a time: new memory for all of them costs more than the arithmetic.
        parts = (values.split(16) for values in (projected.pixels.cpu(), *places))
        for some, *drawn in zip(*parts, strict=True):
            # An activation that is not finite leaves nothing to draw.
            levels, steps, peaks = in_steps(some.nan_to_num(0, 0, 0))
            atlas.levels[*drawn], atlas.steps[*drawn], atlas.peaks[*drawn] = levels, steps, peaks
        at = (atlas.drawn[places[0]], places[1])
        atlas.labels[at] = batch.labels.cpu()[images]
        recorded, recomputed = atlas.activations[at].double(), activations.double()
        bound = tolerance * torch.maximum(recorded.abs(), recomputed.abs())
        close = bound.isfinite() & ((recorded - recomputed).abs() <= bound)
        wrong = ~(close | (recorded == recomputed))
        for one in wrong.nonzero()[:, 0].tolist():
            atlas.mismatches.append(
                Mismatch(
                    feature_map=int(at[0][one]),
                    rank=int(at[1][one]),
                    index=int(atlas.indices[at][one]),
                    recorded=float(recorded[one]),
                    recomputed=float(recomputed[one]),
                )
            )

    def score(self, places: tuple[Tensor, Tensor], samples: Mapping[str, Tensor]) -> None:
        """Enter the samples `[U]` of the units at `places`."""
        for name, values in samples.items():
            empty = self.atlas.not_scored(self.atlas.peaks.shape[1])
            self.atlas.scores.setdefault(name, empty)[places] = values.cpu().float()
