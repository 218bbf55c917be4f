"""Fig. 2 in a notebook: what excites some feature maps of a network, and their projections."""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from zf_lightning.atlas import FoundActivations
from zf_lightning.deconv.deconvnet import Deconvnet
from zf_lightning.deconv.receptive_field import crop
from zf_lightning.errors import UserError
from zf_lightning.figures.grid import layer_panel


def show(
    deconvnet: Deconvnet, found: FoundActivations, layer: str, feature_maps: int | Sequence[int]
) -> Image.Image:
    """Draw feature maps as in Fig. 2: patches of their strongest images beside the projections.

    A notebook shows the picture; `.save(path)` keeps it.

    Args:
        deconvnet: projects the units.
        found: what its `top_activations(…, keep_images=True)` gave. How its images were normalised
            is not known: each channel is drawn from its least value, black, to its greatest.
        layer: a layer that was searched.
        feature_maps: one of its feature maps, or several.

    Raises:
        UserError: the images were not kept, or there is no such layer or feature map.
    """
    if layer not in found:
        raise UserError(f"{layer} was not searched: {', '.join(found)} were.")
    top = found[layer]
    maps = [feature_maps] if isinstance(feature_maps, int) else list(feature_maps)
    missing = [number for number in maps if not 0 <= number < len(top.indices)]
    if missing or not maps:
        raise UserError(f"{layer} has feature maps 0 to {len(top.indices) - 1}, not {missing}.")
    drawn = [_tiles(deconvnet, found, layer, number) for number in maps]
    patches, projections, inside = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    return layer_panel(
        _displayed(patches, inside).numpy(),
        projections.numpy(),
        inside.numpy(),
        top.activations[maps].numpy(),
        feature_maps=maps,
        title=layer,
        subtitle=f"{deconvnet.method.name} projections of the top {top.indices.shape[1]} images",
    )


def _tiles(
    deconvnet: Deconvnet, found: FoundActivations, layer: str, feature_map: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Patches and projections `[k, 3, h, w]` and where they are inside; 0 without an image."""
    images, units = found.units(layer, feature_map)
    tiles = deconvnet.project_windows(images.to(deconvnet.device), units)
    high, wide = tiles.pixels.shape[-2:]
    corners = tiles.tops.cpu(), tiles.lefts.cpu()
    patches, inside = crop(images, units.images.cpu(), *corners, (high, wide))
    # The images that there are come first.
    lacking = found[layer].indices.shape[1] - len(images)
    whole = [
        torch.cat([part, part.new_zeros(lacking, *part.shape[1:])])
        for part in (_in_colour(patches), _in_colour(tiles.pixels.cpu()), inside)
    ]
    return whole[0], whole[1], whole[2]


def _in_colour(pictures: Tensor) -> Tensor:
    """The first three channels, or the only one three times."""
    some = pictures[:, :3] if pictures.shape[1] >= 3 else pictures[:, :1].expand(-1, 3, -1, -1)
    return some.detach().float()


def _displayed(patches: Tensor, inside: Tensor) -> Tensor:
    """uint8 of patches `[M, k, 3, h, w]`, each channel stretched over its own range."""
    shown = torch.zeros_like(patches, dtype=torch.uint8)
    for channel in range(3):
        values = patches[:, :, channel]
        seen = values[inside]
        low, high = seen.min(), seen.max()
        shown[:, :, channel] = ((values - low) / (high - low).clamp(min=1e-12) * 255).clamp(0, 255)
    return shown
