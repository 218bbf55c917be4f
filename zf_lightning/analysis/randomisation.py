"""Randomised weights, layer by layer: do projections depend on what a network has learnt?

The sanity check of Adebayo et al. (2018): a picture that explains a trained network should change
when the network's weights do. Choices that they leave open:

- Weights are drawn from a Gaussian with the mean and standard deviation of the trained tensor, so
  that signals keep their size and most units stay alive. Batch normalisation is left as it is.
- The unit stays the same: image, feature map and position. Its signal starts as 1, not as its
  activation, so that the deconvnet has a projection even where the randomised unit is dead. (A
  method that masks by the forward pass projects a dead unit to nothing: NaN.)
- Projections are compared inside the unit's receptive field and the image. Outside they are zero,
  which would make all of them look alike.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from zf_lightning.deconv import Deconvnet, Units
from zf_lightning.errors import UserError

#: Side of SSIM's window, in pixels; smaller for smaller projections.
SSIM_WINDOW = 7
#: Share of a projection's values within the grey scale of its picture, as in the figures.
COVERED = 0.97


@dataclass(frozen=True)
class Similarity:
    """Similarity of the projections of U units to the trained network's: `[U]` each.

    NaN where one of the two is all zeros.
    """

    #: Spearman's rank correlation of the pixels' values, in [-1, 1].
    signed: Tensor
    #: The same of their magnitudes, whatever the sign.
    absolute: Tensor
    #: Structural similarity of the pictures, zero being grey; 1 for equal ones.
    ssim: Tensor

    def means(self) -> dict[str, float]:
        """Means and standard deviations over the comparable units, and their number."""
        found = {}
        for name in ("signed", "absolute", "ssim"):
            values = getattr(self, name)
            values = values[values.isfinite()]
            found[name] = float(values.mean()) if len(values) else float("nan")
            found[f"{name}_std"] = float(values.std()) if len(values) > 1 else float("nan")
        return {**found, "units": int(self.signed.isfinite().sum())}


@dataclass(frozen=True)
class Randomised:
    """Similarity of the projections after a layer's weights were randomised."""

    layer: str
    #: This layer and all between it and the unit.
    cascading: Similarity
    #: This layer alone.
    independent: Similarity


@dataclass(frozen=True)
class Randomisation:
    """The layers below some units, from the units' own down, and a reference value."""

    layers: list[Randomised]
    #: Of projections of another feature map at the same position of the trained network: what
    #: pictures that explain different things have in common.
    other_maps: Similarity


def strongest_units(
    deconvnet: Deconvnet, images: Tensor, layer: str, *, number: int, seed: int
) -> Units:
    """The strongest units, among images `[N, 3, H, W]`, of some feature maps drawn at random.

    Feature maps that no image excites are skipped.
    Raises UserError if no image excites any.
    """
    parts = [
        deconvnet.feature_maps(some, [layer])[layer] for some in images.split(deconvnet.batch_size)
    ]
    maps = torch.cat(parts)
    maps = maps[:, :, None, None] if maps.dim() == 2 else maps
    strongest, where = maps.transpose(0, 1).flatten(1).max(1)
    order = torch.randperm(len(strongest), generator=torch.Generator().manual_seed(seed))
    chosen = [feature_map for feature_map in order.tolist() if strongest[feature_map] > 0]
    if not chosen:
        raise UserError(f"No image excites a feature map of {layer}.")
    feature_maps = torch.tensor(sorted(chosen[:number]), device=maps.device)
    image, row, column = torch.unravel_index(
        where[feature_maps], (len(maps), maps.shape[2], maps.shape[3])
    )
    return Units(layer, image, feature_maps, row, column)


def randomise_layers(
    network: nn.Module,
    images: Tensor,
    units: Units,
    *,
    method: Any = "deconvnet",
    norm: Any = "identity",
    seed: int = 0,
    batch_size: int = 16,
    on_layer: Callable[[], Any] = lambda: None,
) -> Randomisation:
    """Compare projections of units before and after the layers below them are randomised.

    A copy of the network is changed, never the network itself.

    Args:
        network: trained, takes `[N, 3, H, W]`.
        images: `[N, 3, H, W]` as the network takes them.
        units: of one layer.
        method, norm: see `zf_lightning.deconv.Method`.
        seed: decides the random weights.
        on_layer: called twice a layer, for a progress bar.

    Raises:
        UserError: a unit or layer does not exist, or an operation below it has no rule.
    """
    deconvnet = Deconvnet(copy.deepcopy(network), method=method, norm=norm, batch_size=batch_size)
    trained = _projections(deconvnet, images, units)
    count = deconvnet.shapes([units.layer], (images.shape[2], images.shape[3]))[units.layer][0]
    others = Units(
        units.layer,
        units.images,
        (units.feature_maps + max(1, count // 2)) % count,
        units.rows,
        units.columns,
    )
    other_maps = _similarity(trained, _projections(deconvnet, images, others))
    layers = list(reversed(_weights_below(deconvnet, units.layer)))
    generator = torch.Generator().manual_seed(seed)
    drawn = [[_drawn(weights, generator) for weights in parts] for _, parts in layers]
    independent = []
    for (_, parts), values in zip(layers, drawn, strict=True):
        kept = [weights.detach().clone() for weights in parts]
        _fill(parts, values)
        independent.append(_similarity(trained, _projections(deconvnet, images, units)))
        _fill(parts, kept)
        on_layer()
    found = []
    for (name, parts), values, alone in zip(layers, drawn, independent, strict=True):
        _fill(parts, values)
        together = _similarity(trained, _projections(deconvnet, images, units))
        found.append(Randomised(name, together, alone))
        on_layer()
    return Randomisation(found, other_maps)


def _projections(deconvnet: Deconvnet, images: Tensor, units: Units) -> list[Tensor]:
    """The projection `[3, h, w]` of each unit in its receptive field, cut at the border."""
    layer, size = units.layer, (images.shape[2], images.shape[3])
    field = deconvnet.receptive_fields([layer], size)[layer]
    found = []
    for start in range(0, len(units), deconvnet.batch_size):
        some = units[slice(start, start + deconvnet.batch_size)]
        state = deconvnet.forward(images[some.images], [layer])
        each = torch.arange(len(some), device=images.device)
        signal = torch.zeros_like(state.outputs[layer])
        at = (some.feature_maps, some.rows, some.columns)[: signal.dim() - 1]
        signal[(each, *at)] = 1
        pixels = state.backward(layer, signal, each).cpu()
        for picture, row, column in zip(
            pixels, some.rows.tolist(), some.columns.tolist(), strict=True
        ):
            window = field.clipped_window(row, column)
            bottom, right = window.top + window.height, window.left + window.width
            found.append(picture[:, window.top : bottom, window.left : right].float())
    return found


def _weights_below(deconvnet: Deconvnet, layer: str) -> list[tuple[str, list[nn.Parameter]]]:
    """Weights and biases of the layers up to `layer`, from the input on, each module once."""
    graph = deconvnet.graph
    network = graph.network
    found: dict[str, list[nn.Parameter]] = {}
    for node in graph.below(graph.nodes([layer]).values()):
        if node not in graph.dependent:
            continue
        if node.op == "call_module":
            # Also the layers inside a module that cannot be traced.
            module = network.get_submodule(str(node.target))
            for name, inner in module.named_modules(prefix=str(node.target)):
                if isinstance(inner, nn.Conv2d | nn.Linear):
                    found[name] = list(inner.parameters(recurse=False))
            continue
        # Weights passed to a function.
        for source in node.all_input_nodes:
            weights = attrgetter(str(source.target))(network) if source.op == "get_attr" else None
            if isinstance(weights, nn.Parameter) and weights.dim() > 1:
                found[str(source.target)] = [weights]
    if not found:
        raise UserError(f"There are no weights below {layer} to randomise.")
    return list(found.items())


def _drawn(weights: Tensor, generator: torch.Generator) -> Tensor:
    values = weights.detach().cpu().double()
    noise = torch.randn(values.shape, generator=generator, dtype=torch.float64)
    spread = values.std() if values.numel() > 1 else torch.zeros(())
    return (values.mean() + spread * noise).to(weights)


@torch.no_grad()
def _fill(parts: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    for weights, new in zip(parts, values, strict=True):
        weights.copy_(new)


def _similarity(first: Sequence[Tensor], second: Sequence[Tensor]) -> Similarity:
    rows = []
    for one, other in zip(first, second, strict=True):
        one, other = one.nan_to_num(0, 0, 0), other.nan_to_num(0, 0, 0)
        row = (float("nan"),) * 3
        if one.any() and other.any():
            row = _rank(one, other), _rank(one.abs(), other.abs()), _ssim(one, other)
        rows.append(row)
    return Similarity(*torch.tensor(rows, dtype=torch.float64).unbind(1))


def _rank(one: Tensor, other: Tensor) -> float:
    values = one.flatten().numpy(), other.flatten().numpy()
    if any(np.ptp(value) == 0 for value in values):
        return float("nan")
    return float(spearmanr(*values).statistic)


def _shown(projection: Tensor) -> Tensor:
    """A projection as a picture: zero is mid grey (0.5), in 0..1."""
    magnitudes = projection.abs().flatten()
    # Most values may be zero.
    scale = magnitudes[magnitudes > 0].quantile(COVERED)
    return (0.5 + 0.5 * projection / scale).clamp(0, 1)


def _ssim(one: Tensor, other: Tensor) -> float:
    side = min(SSIM_WINDOW, *one.shape[1:])
    if side < 2:
        return float("nan")
    found = structural_similarity_index_measure(
        _shown(one)[None],
        _shown(other)[None],
        gaussian_kernel=False,
        # Must be odd.
        kernel_size=side - 1 + side % 2,
        data_range=1.0,
    )
    assert isinstance(found, Tensor)
    return float(found)
