"""Faithfulness: whether a projection marks the pixels that its unit responds to.

Tests of any importance of pixels, whatever produced it. Our choices:

- *Two squares.* Two squares in the unit's receptive field, equally far from its centre, are hidden
  in turn: does the more important one lower the unit more? See `two_squares.py`.
- *Beyond the others.* The same squares, but the effect is the unit's relative drop minus that of
  all other active maps at its position together: marking what every map there responds to earns
  nothing.
- *The curve.* The receptive field is divided into cells. They are hidden, or shown on a hidden
  field, in the order of their importance. The area between the two curves of the unit's relative
  activation is 0 for a random order.

Hidden pixels get one value, as in occlusion (Sec. 4.2).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zf_lightning.analysis.place_response import PlaceResponse
from zf_lightning.analysis.specificity import Specificity
from zf_lightning.analysis.two_squares import hide_two_squares
from zf_lightning.deconv import Deconvnet, Units
from zf_lightning.deconv.receptive_field import crop

#: Cells along each side of a receptive field, and steps in which they are hidden.
CELLS, STEPS = 12, 10


@dataclass(frozen=True)
class Faithfulness:
    """Results of one importance for U units: float64 on the CPU."""

    #: `[U]` in 0..1: share of the pairs, weighted by the difference of their effects, whose more
    #: important square lowered the unit more. NaN where no pair has an effect.
    squares: Tensor
    #: `[U]` in 0..1: the same for effects beyond those on the other maps.
    beyond_others: Tensor
    #: `[U]`: the area between the curves; -1..1 where hiding everything leaves nothing.
    area: Tensor
    #: `[U, STEPS + 1]`: relative activation with 0, 1/STEPS, … 1 of the cells hidden, and shown.
    hidden: Tensor
    shown: Tensor


def faithfulness(
    deconvnet: Deconvnet,
    images: Tensor,
    units: Units,
    importances: Mapping[str, Tensor],
    *,
    pairs: int = 50,
    fill: Tensor | float = 0.0,
    seed: int = 0,
) -> dict[str, Faithfulness]:
    """Test importances of pixels against the units' own activations.

    Args:
        deconvnet: of the network, whatever its method.
        images: float `[N, 3, H, W]` as the network takes them.
        units: of one layer, all active.
        importances: by name, `[U, h, w]`, in the tiles of the units' receptive fields; see
            `importances_of` and `trivial_importances`.
        pairs: of squares for each unit.
        fill: hides pixels: a number or `[3, H, W]`, in the network's input range.
        seed: decides the squares.
    """
    generator = torch.Generator().manual_seed(seed)
    filling = torch.as_tensor(fill, dtype=images.dtype).expand(images.shape[1:])
    found: dict[str, list[tuple[Tensor, ...]]] = {name: [] for name in importances}
    places = (units.images, units.feature_maps, units.rows, units.columns)
    for number, (image, feature_map, row, column) in enumerate(
        zip(*(values.tolist() for values in places), strict=True)
    ):
        response = PlaceResponse(deconvnet, images[image], units.layer, row, column)
        hiding = response.of_image(filling).to(images.device)
        squares = hide_two_squares(response, feature_map, hiding, pairs=pairs, generator=generator)
        before = squares.before[feature_map]
        for name, values in importances.items():
            of_pixels = response.of_window(values[number]).to(torch.float64).cpu()
            curves = _curves(response, hiding, of_pixels, before, feature_map)
            found[name].append((*squares.agreement(of_pixels), *curves))
    return {name: _joined(of_units) for name, of_units in found.items()}


def magnitude(projections: Tensor) -> Tensor:
    """Importance `[U, h, w]` of pixels by projections `[U, 3, h, w]`: magnitude over colours."""
    return projections.abs().sum(1)


def times_image(deconvnet: Deconvnet, images: Tensor, units: Units, projections: Tensor) -> Tensor:
    """Importance `[U, h, w]`: projections `[U, 3, h, w]` times the image's pixels.

    For the gradient it is the first-order effect of setting a pixel to 0; it may be negative.
    """
    return (projections * _tiles(deconvnet, images, units)[0].to(projections)).sum(1)


def projected_importances(
    method: str, deconvnet: Deconvnet, images: Tensor, units: Units, found: Specificity
) -> dict[str, Tensor]:
    """Importances `[U, h, w]` by the projections of a method, and their controls, by name."""
    of_units = magnitude(found.plain)
    return {
        method: of_units,
        f"{method}, contrastive": magnitude(found.contrastive),
        f"{method}, of another map": magnitude(found.other),
        f"{method}, mean of other units": mean_of_others(of_units),
        f"{method} × image": times_image(deconvnet, images, units, found.plain),
    }


def trivial_importances(
    deconvnet: Deconvnet, images: Tensor, units: Units, *, seed: int = 0
) -> dict[str, Tensor]:
    """Baselines that a projection must beat: importances `[U, h, w]` that ignore the unit.

    `centred blob`: falls with the distance from the receptive field's centre. `image variance`:
    the square of a pixel's difference from the mean of the cell around it. `chance`: random.
    """
    tiles, inside = _tiles(deconvnet, images, units)
    height, width = tiles.shape[2:]
    side = max(1, round(height / CELLS)), max(1, round(width / CELLS))
    # Pixels beyond the border are left out: zeros would make an edge there.
    counts = _means(inside[:, None].to(tiles.dtype), side)
    mean = _means(tiles, side) / counts.clamp_min(1e-6)
    variance = ((tiles - mean).square().sum(1) * inside).cpu()
    rows = (torch.arange(height, dtype=torch.float64) - (height - 1) / 2) / height
    columns = (torch.arange(width, dtype=torch.float64) - (width - 1) / 2) / width
    blob = torch.exp(-4 * (rows[:, None].square() + columns.square()))
    generator = torch.Generator().manual_seed(seed)
    return {
        "centred blob": blob.expand(len(units), height, width),
        "image variance": variance,
        "chance": torch.rand(variance.shape, generator=generator),
    }


def mean_of_others(importances: Tensor) -> Tensor:
    """Baseline `[U, h, w]`: the mean importance over the layer's other units, from `[U, h, w]`.

    It knows neither the unit nor its image, only where in its receptive field a unit looks. That
    need not be the middle: padding on one side moves the receptive field, and training moves the
    filters back.
    """
    shares = importances / importances.sum((1, 2), keepdim=True).clamp_min(1e-30)
    return (shares.sum(0) - shares) / max(1, len(shares) - 1)


def _curves(
    response: PlaceResponse, hiding: Tensor, importances: Tensor, before: Tensor, feature_map: int
) -> tuple[Tensor, Tensor]:
    """Relative activation `[STEPS + 1]`: most important cells hidden, and only they shown."""
    tile, window = response.tile, response.window
    rows = (torch.arange(window.height) + window.top - tile.top) * CELLS // tile.height
    columns = (torch.arange(window.width) + window.left - tile.left) * CELLS // tile.width
    cell = rows[:, None] * CELLS + columns
    # Means, as cells differ in their number of pixels.
    sums = torch.bincount(cell.flatten(), importances.flatten(), CELLS * CELLS)
    counts = torch.bincount(cell.flatten(), minlength=CELLS * CELLS)
    present = counts.nonzero()[:, 0]
    order = present[(sums / counts)[present].argsort(descending=True, stable=True)]
    rank = torch.zeros(CELLS * CELLS, dtype=torch.int64)
    rank[order] = torch.arange(len(order))
    limits = torch.arange(STEPS + 1) * len(order) // STEPS
    first = (rank[cell] < limits[:, None, None])[:, None].to(hiding.device)
    hidden = hiding.where(first, response.pixels)
    shown = response.pixels.where(first, hiding)
    # All hidden and nothing hidden are the ends of both curves.
    activations = response(torch.cat([hidden, shown[1:-1]]))[:, feature_map].double()
    relative = (activations / before).cpu()
    down = relative[: STEPS + 1]
    return down, torch.cat([down[-1:], relative[STEPS + 1 :], down[:1]])


def _joined(of_units: list[tuple[Tensor, ...]]) -> Faithfulness:
    squares, beyond, hidden, shown = map(torch.stack, zip(*of_units, strict=True))
    area = torch.trapezoid(shown - hidden, dx=1 / STEPS)
    return Faithfulness(squares, beyond, area, hidden, shown)


def _tiles(deconvnet: Deconvnet, images: Tensor, units: Units) -> tuple[Tensor, Tensor]:
    """Receptive-field crops `[U, 3, h, w]`, and where they lie in the image `[U, h, w]`."""
    field = deconvnet.receptive_fields([units.layer], (images.shape[2], images.shape[3]))[
        units.layer
    ]
    starts = field.tiles(units.rows, units.columns)
    return crop(images, units.images, *starts, field.tile_size)


def _means(values: Tensor, side: tuple[int, int]) -> Tensor:
    """Means of maps `[N, C, h, w]` over windows of a size around each pixel."""
    odd = side[0] // 2 * 2 + 1, side[1] // 2 * 2 + 1
    return F.avg_pool2d(values, odd, 1, (odd[0] // 2, odd[1] // 2))
