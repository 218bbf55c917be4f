"""One image, looked at: its strongest feature maps, and its classes with a square hidden."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zf_lightning.analysis.squares import around, hide
from zf_lightning.deconv import Deconvnet, Units
from zf_lightning.deconv.receptive_field import crop


@dataclass(frozen=True)
class StrongestMaps:
    """The strongest feature maps of a layer for one image, strongest first; all on the CPU."""

    #: K units, each where its feature map is strongest.
    units: Units
    #: `[K]` float32.
    activations: Tensor
    #: `[K, 3, h, w]` uint8: what each unit saw; 0 beyond the border.
    patches: Tensor
    #: `[K, 3, h, w]` float32.
    projections: Tensor
    #: `[K, h, w]` bool: False beyond the border.
    inside: Tensor


def strongest_maps(
    deconvnet: Deconvnet, image: Tensor, display: Tensor, layer: str, *, k: int
) -> StrongestMaps:
    """The `k` feature maps with the largest activations anywhere, of those that are excited at all.

    Activations of different feature maps are compared as they are, as Sec. 4.2 does for the
    strongest map.

    Args:
        image: float `[1, 3, H, W]` as the network takes it.
        display: uint8 `[3, H, W]`, the same for people.
        layer: a layer, with feature maps or without.

    Raises UserError if there is no such layer, or it has no backward rule.
    """
    maps = deconvnet.feature_maps(image, [layer])[layer][0].float()
    # A fully connected layer's units have no position: row and column are 0.
    flat = maps.flatten(1) if maps.dim() > 1 else maps[:, None]
    peaks, places = flat.max(1)
    values, numbers = peaks.topk(min(k, len(peaks)))
    numbers = numbers[values > 0]
    width = maps.shape[2] if maps.dim() == 3 else 1
    rows, columns = places[numbers] // width, places[numbers] % width
    units = Units(layer, torch.zeros_like(numbers), numbers, rows, columns)
    if not len(numbers):
        nothing = torch.zeros(0, 3, 1, 1)
        return StrongestMaps(units, values[:0].cpu(), nothing.byte(), nothing, nothing[:, 0] > 0)
    found = deconvnet.project_windows(image, units)
    size = (found.pixels.shape[2], found.pixels.shape[3])
    tops, lefts = found.tops.cpu(), found.lefts.cpu()
    patches, inside = crop(display.cpu()[None], torch.zeros_like(tops), tops, lefts, size)
    activations, pixels = found.activations.cpu().float(), found.pixels.cpu().float()
    return StrongestMaps(units, activations, patches, pixels, inside)


def probabilities_without(
    network: nn.Module, image: Tensor, centre: tuple[float, float], size: int, fill: Tensor | float
) -> Tensor:
    """Class probabilities `[classes]` float64 of an image with one square hidden (Sec. 4.2).

    Args:
        image: float `[1, 3, H, W]` as the network takes it.
        centre: row and column of the square's middle, in pixels; it is cut off at the border.
        size: its height and width in pixels; 0 hides nothing.
        fill: its values, as `hide` takes them.
    """
    hidden = hide(image, around(torch.tensor([centre]), size), size, fill)
    with torch.no_grad():
        return network(hidden)[0].double().softmax(0).cpu()
