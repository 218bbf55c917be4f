"""Feature invariance to translation, scaling and rotation of the image (Fig. 5).

The paper's ranges are in `conf/task/invariance.yaml`. Where it is silent: the whole picture is
transformed before it is cropped for the network, and regions from beyond its border are grey.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from zf_lightning.analysis.observed import ObservedNetwork
from zf_lightning.errors import UserError

#: The transformation that leaves a picture as it is.
UNCHANGED = {"vertical translation": 0.0, "scale": 1.0, "rotation": 0.0}
UNITS = {"vertical translation": "pixels", "scale": "ratio", "rotation": "degrees"}


@dataclass(frozen=True)
class Invariance:
    """Effect of one transformation, at V values, on the features of N pictures."""

    transformation: str
    values: tuple[float, ...]
    #: `[V, N]` by layer: Euclidean distance between the features of the transformed and the
    #: untransformed picture.
    distances: dict[str, Tensor]
    #: `[N]` by layer: Euclidean norm of the untransformed picture's features.
    norms: dict[str, Tensor]
    #: `[V, N]`: probability of the true class.
    probabilities: Tensor

    def relative_distances(self, layer: str) -> Tensor:
        """`[V, N]`: distances relative to the norm of the untransformed features."""
        return self.distances[layer] / self.norms[layer].clamp(min=torch.finfo(torch.float32).tiny)


def transformed(
    pictures: Tensor, transformation: str, value: float, *, grey: float = 128.0
) -> Tensor:
    """Move, scale or rotate pictures `[N, 3, H, W]` in 0..255 about their centre; float32.

    Args:
        transformation: `vertical translation` (pixels, downwards), `scale` (a factor) or
            `rotation` (degrees, clockwise).
        grey: fills regions from beyond the border.

    Raises UserError for another transformation, or a scale that is not positive.
    """
    if transformation not in UNCHANGED:
        raise UserError(f"{transformation} is not one of {', '.join(UNCHANGED)}.")
    if transformation == "scale" and value <= 0:
        raise UserError(f"A scale of {value} is not possible: it must be above 0.")
    pictures = pictures.float()
    if value == UNCHANGED[transformation]:
        return pictures
    if transformation == "vertical translation" and value == int(value):
        # Whole pixels are moved without interpolation.
        moved = torch.full_like(pictures, grey)
        height, shift = pictures.shape[2], int(value)
        if abs(shift) < height:
            source = slice(max(0, -shift), height - max(0, shift))
            target = slice(max(0, shift), height + min(0, shift))
            moved[:, :, target] = pictures[:, :, source]
        return moved
    return transforms.affine(
        pictures,
        angle=value if transformation == "rotation" else 0.0,
        translate=[0.0, value if transformation == "vertical translation" else 0.0],
        scale=value if transformation == "scale" else 1.0,
        shear=[0.0, 0.0],
        interpolation=InterpolationMode.BILINEAR,
        fill=[grey] * pictures.shape[1],
    )


def invariance(
    network: nn.Module | ObservedNetwork,
    pictures: Tensor,
    labels: Sequence[int],
    transformations: Mapping[str, Sequence[float]],
    *,
    prepare: Callable[[Tensor], Tensor],
    layers: Sequence[str] | None = None,
    grey: float = 128.0,
    batch_size: int = 32,
) -> list[Invariance]:
    """Feature distances in some layers, and the probability of the true class (Fig. 5).

    Args:
        pictures: `[N, 3, H, W]` in 0..255.
        labels: the class of each.
        transformations: from the names in `UNCHANGED` to their values.
        prepare: turns float pictures into network inputs: crop, mean subtraction.
        layers: the first and the last hidden layer if None (layers 1 and 7 in the paper).
        grey: fills regions from beyond the border.
        batch_size: pictures in a forward pass, at most.

    Raises:
        UserError: a transformation, layer or class does not exist.
    """
    observed = ObservedNetwork.of(network)
    layers = [observed.layers[0], observed.last_hidden] if layers is None else list(layers)
    if len(labels) != len(pictures):
        raise UserError(f"There are {len(pictures)} pictures, but {len(labels)} labels.")

    def answers(pictures: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        parts = [observed.features(prepare(some), layers) for some in pictures.split(batch_size)]
        probabilities = torch.cat([scores.softmax(1) for scores, _ in parts]).cpu()
        if not all(0 <= label < probabilities.shape[1] for label in labels):
            raise UserError(f"The network has {probabilities.shape[1]} classes, not {max(labels)}.")
        own = probabilities[torch.arange(len(labels)), torch.tensor(list(labels))]
        return {name: torch.cat([part[name] for _, part in parts]) for name in layers}, own

    originals, _ = answers(pictures.float())
    norms = {layer: originals[layer].norm(dim=1).cpu() for layer in layers}
    found = []
    for name, values in transformations.items():
        distances: dict[str, list[Tensor]] = {layer: [] for layer in layers}
        probabilities = []
        for value in values:
            features, own = answers(transformed(pictures, name, value, grey=grey))
            probabilities.append(own)
            for layer in layers:
                distances[layer].append((features[layer] - originals[layer]).norm(dim=1).cpu())
        found.append(
            Invariance(
                name,
                tuple(values),
                {layer: torch.stack(rows) for layer, rows in distances.items()},
                norms,
                torch.stack(probabilities),
            )
        )
    return found
