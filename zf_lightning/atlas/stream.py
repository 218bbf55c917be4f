"""The strongest images of every feature map, found in a stream of batches (Sec. 4.1)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zf_lightning.atlas.kept_images import KeptImages
from zf_lightning.atlas.top_activations import TopActivations, TopImages
from zf_lightning.deconv.deconvnet import Deconvnet
from zf_lightning.deconv.units import Units
from zf_lightning.errors import UserError


@dataclass(frozen=True)
class FoundActivations(Mapping[str, TopImages]):
    """The strongest images by layer, and the images themselves if they were kept."""

    layers: dict[str, TopImages]
    kept: KeptImages | None

    def __getitem__(self, layer: str) -> TopImages:
        return self.layers[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def units(self, layer: str, feature_map: int) -> tuple[Tensor, Units]:
        """The images `[N, 3, H, W]` that excite a feature map most, and the units to project.

        Raises UserError if the images were not kept.
        """
        if self.kept is None:
            raise UserError("The images were not kept: ask for them with keep_images=True.")
        top = self.layers[layer]
        ranks = top.present[feature_map].nonzero()[:, 0]
        images = self.kept.images(top.indices[feature_map, ranks].tolist())
        units = Units(
            layer,
            torch.arange(len(ranks)),
            torch.full_like(ranks, feature_map),
            top.rows[feature_map, ranks],
            top.columns[feature_map, ranks],
        )
        return images, units


@torch.no_grad()
def find_top_activations(
    deconvnet: Deconvnet,
    batches: Iterable[Any],
    *,
    layers: Sequence[str],
    k: int,
    keep_images: bool,
) -> FoundActivations:
    """What `Deconvnet.top_activations` says."""
    metric: TopActivations | None = None
    kept = KeptImages() if keep_images else None
    seen = 0
    for batch in batches:
        images = batch[0] if isinstance(batch, tuple | list) else batch
        if not isinstance(images, Tensor):
            raise UserError("A batch is a tensor of images [N, 3, H, W], or begins with one.")
        inputs = images.to(deconvnet.device)
        outputs = deconvnet.feature_maps(inputs, layers)
        if metric is None:
            counts = {layer: outputs[layer].shape[1] for layer in layers}
            metric = TopActivations(counts, k=k).to(deconvnet.device)
        indices = torch.arange(seen, seen + len(images), device=deconvnet.device)
        metric.update(outputs, indices)
        if kept is not None:
            kept.update(images, indices, metric.top_indices())
        seen += len(images)
    if metric is None:
        raise UserError("There are no images: the stream of batches is empty.")
    return FoundActivations({layer: top.cpu() for layer, top in metric.compute().items()}, kept)
