"""Sensitivity to occlusion: the effect of hiding each place of an image (Sec. 4.2, Fig. 7)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zf_lightning.analysis.changed import Changed, ChangedPass
from zf_lightning.analysis.observed import ObservedNetwork
from zf_lightning.analysis.squares import grid_starts, hide
from zf_lightning.deconv.receptive_field import cut_out
from zf_lightning.errors import UserError


@dataclass(frozen=True)
class Occlusion:
    """The effect of a square at each of R × K positions on the network's answer to an image.

    The square at `[r, k]` begins at row `tops[r]` and column `lefts[k]`; all maps are on the CPU.
    """

    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    #: Height and width of the square, and of the image, in pixels.
    size: int
    image_size: tuple[int, int]
    layer: str
    #: The layer's strongest feature map in the unoccluded image, and its total activation there.
    feature_map: int
    total_activation: float
    #: `[R, K]` float32: the feature map's total activation, summed over positions (Fig. 7b).
    activation: Tensor
    #: The class whose probability is followed, and the logarithm of it in the unoccluded image.
    label: int
    log_probability_unoccluded: float
    #: `[R, K]` float64: the logarithm of the probability of the class (Fig. 7d).
    log_probability: Tensor
    #: The most probable class of the unoccluded image.
    predicted: int
    #: `[R, K]` int64: the most probable class (Fig. 7e).
    most_probable: Tensor

    @property
    def probability(self) -> Tensor:
        """`[R, K]` float64 in 0..1: the probability of the class."""
        return self.log_probability.exp()

    @property
    def flat(self) -> bool:
        """Whether the probability is the same at all positions."""
        return bool((self.log_probability == self.log_probability.flatten()[0]).all())

    @property
    def worst(self) -> tuple[int, int]:
        """First row and column, in pixels, of the square that lowers the probability most."""
        place = int(self.log_probability.argmin())
        return self.tops[place // len(self.lefts)], self.lefts[place % len(self.lefts)]


def occlude(
    network: nn.Module | ObservedNetwork,
    images: Tensor,
    *,
    layer: str | None = None,
    labels: Sequence[int | None] | None = None,
    size: int,
    stride: int,
    fill: Tensor | float = 0.0,
    batch_size: int = 64,
    windows: bool = True,
    progress: Callable[[int], None] | None = None,
) -> list[Occlusion]:
    """Slide a square over images, and record panels b, d and e of Fig. 7 in one pass.

    The strongest feature map is the one with the largest total activation in the unoccluded image;
    the paper does not say whether strongest means the map's total or its peak.

    Args:
        images: float `[N, 3, H, W]` as the network takes them.
        layer: its strongest feature map is followed; the last convolution if None.
        labels: the class of each image; None for the most probable one without occlusion.
        size, stride: of the square and between its positions, in pixels.
        fill: the square's values: a number or `[3, H, W]`, in the network's input range.
        batch_size: images in a forward pass, at most; bounds the memory.
        windows: recompute only what the square changed (see `changed`): the same result, in a
            third of the time on a CPU.
        progress: called with the number of positions done since the last call.

    Raises:
        UserError: the layer does not exist or has no feature maps, or the square does not fit.
    """
    observed = ObservedNetwork.of(network)
    layer = observed.last_convolution if layer is None else layer
    height, width = int(images.shape[2]), int(images.shape[3])
    tops, lefts = grid_starts(height, size, stride), grid_starts(width, size, stride)
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}, but must be at least 1.")
    if labels is not None and len(labels) != len(images):
        raise UserError(f"There are {len(images)} images, but {len(labels)} labels.")
    positions = torch.cartesian_prod(torch.tensor(tops), torch.tensor(lefts)).view(-1, 2)
    found = []
    for place, image in enumerate(images):
        known = None if labels is None else labels[place]
        start = _unoccluded(observed, image[None], layer, known)
        run = (_run_windows if windows else _run_whole)(observed, image, size, fill, layer)
        parts = []
        for some in positions.split(batch_size):
            totals: list[Tensor] = []
            scores = run(some, partial(_add_total, totals, start["feature_map"]))
            log_probabilities = _log_probabilities(scores)[:, start["label"]]
            parts.append((totals[0].float(), log_probabilities, scores.argmax(1)))
            if progress is not None:
                progress(len(some))
        activation, log_probability, most_probable = (
            torch.cat(values).cpu().view(len(tops), len(lefts))
            for values in zip(*parts, strict=True)
        )
        found.append(
            Occlusion(
                tops=tuple(tops),
                lefts=tuple(lefts),
                size=size,
                image_size=(height, width),
                layer=layer,
                activation=activation,
                log_probability=log_probability,
                most_probable=most_probable,
                **start,
            )
        )
    return found


#: From positions `[N, 2]` of the square and an observer of the layer to scores `[N, classes]`.
_Run = Callable[[Tensor, Callable[[str, Any], None]], Tensor]


def _unoccluded(
    observed: ObservedNetwork, image: Tensor, layer: str, label: int | None
) -> dict[str, Any]:
    """The strongest feature map and the class to follow, as fields of `Occlusion`."""
    totals: list[Tensor] = []

    def total(_: str, output: Tensor) -> None:
        if output.dim() != 4:
            raise UserError(f"{layer} has no feature maps: name a convolutional layer.")
        totals.append(output.float().sum((2, 3))[0])

    log_probabilities = _log_probabilities(observed.run(image, [layer], total))[0]
    predicted = int(log_probabilities.argmax())
    label = predicted if label is None else label
    if not 0 <= label < len(log_probabilities):
        raise UserError(f"There is no class {label}: the network has {len(log_probabilities)}.")
    feature_map = int(totals[0].argmax())
    return {
        "feature_map": feature_map,
        "total_activation": float(totals[0][feature_map]),
        "label": label,
        "log_probability_unoccluded": float(log_probabilities[label]),
        "predicted": predicted,
    }


def _add_total(totals: list[Tensor], feature_map: int, _: str, output: Changed | Tensor) -> None:
    if isinstance(output, Changed):
        totals.append(output.totals(feature_map))
    else:
        totals.append(output[:, feature_map].double().sum((1, 2)))


def _run_whole(
    observed: ObservedNetwork, image: Tensor, size: int, fill: Tensor | float, layer: str
) -> _Run:
    """Run whole images with the square in them."""

    def run(positions: Tensor, observe: Callable[[str, Any], None]) -> Tensor:
        hidden = hide(image.expand(len(positions), *image.shape), positions, size, fill)
        return observed.run(hidden, [layer], observe)

    return run


def _run_windows(
    observed: ObservedNetwork, image: Tensor, size: int, fill: Tensor | float, layer: str
) -> _Run:
    """Compute only what the square changes."""
    ends = torch.tensor([image.shape[1] - size, image.shape[2] - size])
    filled = torch.as_tensor(fill, dtype=image.dtype, device=image.device).expand(image.shape)
    changed_pass = ChangedPass(observed, image[None], (layer,))

    def run(positions: Tensor, observe: Callable[[str, Any], None]) -> Tensor:
        # A window has the whole square's size, also where the border cuts the square off.
        starts = torch.minimum(positions, ends)
        tops, lefts = starts.to(image.device).unbind(1)
        each = torch.zeros(len(positions), dtype=torch.int64, device=image.device)
        around = cut_out(image[None], each, tops, lefts, (size, size))
        filling = cut_out(filled[None], each, tops, lefts, (size, size))
        windows = hide(around, positions - starts, size, filling)
        return changed_pass.run(windows, tops, lefts, observe)

    return run


def _log_probabilities(scores: Tensor) -> Tensor:
    # In float32 a confident network's probability is exactly 1 wherever the square is.
    return scores.double().log_softmax(1)
