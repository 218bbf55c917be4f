"""First-layer filters: sizes, dead feature maps, frequencies (Sec. 4.1, Fig. 6).

The paper finds that Krizhevsky's first layer mixes very high and very low frequencies with few in
between, and that the second shows aliasing, which it attributes to the stride of 4. Measured here:

- *Frequency content*: the zero-padded power spectrum of each filter, summed over colours and
  normalised to 1, and its share in bands of radial frequency (cycles a pixel). White noise has the
  shares of `white_noise`.
- *Aliasing*: the share of the power above 1 / (2 s) cycles a pixel, vertically or horizontally: the
  stride s cannot carry these frequencies and folds them onto lower ones.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor, nn

from zf_lightning.analysis.observed import ObservedNetwork
from zf_lightning.errors import UserError

#: Bands of radial frequency in cycles a pixel: the top octave, which ends at 1/2, with the corners
#: of the spectrum beyond it; the octave below; and the rest.
BANDS: dict[str, tuple[float, float]] = {
    "low": (0.0, 0.125),
    "mid": (0.125, 0.25),
    "high": (0.25, 1.0),
}
#: Filters are zero-padded to this many pixels for their spectrum.
SPECTRUM_SIZE = 64
#: Rings of the radial spectrum, up to 1/2 cycle a pixel.
RINGS = 16


@dataclass(frozen=True)
class FirstLayer:
    """The filters of a network's first convolution."""

    name: str
    #: `[M, C, h, w]` float32.
    weights: Tensor
    stride: tuple[int, int]

    @property
    def rms(self) -> Tensor:
        """`[M]`: root mean square of each filter's weights."""
        return self.weights.square().mean(dim=(1, 2, 3)).sqrt()


@dataclass(frozen=True)
class FrequencyContent:
    """Distribution of the power of M filters over frequencies."""

    #: `[M]` by band: share of each filter's power.
    bands: dict[str, Tensor]
    #: `[M]`: share of each filter's power that the stride folds onto lower frequencies.
    aliased: Tensor
    #: `[RINGS]`: mean share of the power in each ring of radial frequency, up to 1/2 cycle a pixel.
    radial: Tensor
    #: `[RINGS]`: middle of each ring in cycles a pixel.
    frequencies: Tensor


def first_layer(network: nn.Module) -> FirstLayer:
    """The first convolution of a network.

    Raises UserError if the network's first layer is not an `nn.Conv2d`.
    """
    observed = ObservedNetwork(network)
    name = observed.layers[0] if observed.layers else ""
    module = dict(observed.network.named_modules()).get(name)
    if not isinstance(module, nn.Conv2d):
        raise UserError("The network does not begin with a convolution (nn.Conv2d).")
    stride = (int(module.stride[0]), int(module.stride[1]))
    return FirstLayer(name, module.weight.detach().float().cpu().clone(), stride)


def renormalised(weights: Tensor, rms_limit: float) -> Tensor:
    """Filters `[M, C, h, w]`, each whose RMS exceeds the limit scaled back to it (Sec. 3)."""
    rms = weights.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return weights / (rms / rms_limit).clamp(min=1)


def dominance(rms: Tensor | numpy.ndarray) -> float | None:
    """The largest RMS of a filter over the median (Fig. 6a); None if the median is zero."""
    values = torch.as_tensor(rms)
    return float(values.max() / values.median()) if values.median() > 0 else None


def frequency_content(weights: Tensor, stride: tuple[int, int]) -> FrequencyContent:
    """Frequency content of filters `[M, C, h, w]`; all shares of a zero filter are 0."""
    size = max(SPECTRUM_SIZE, *weights.shape[2:])
    power = torch.fft.fft2(weights.double(), s=(size, size)).abs().square().sum(1)
    total = power.sum((1, 2))
    shares = power / total.clamp(min=torch.finfo(torch.float64).tiny)[:, None, None]
    vertical, horizontal = _frequencies(size)
    radius = (vertical.square() + horizontal.square()).sqrt()
    bands = {
        name: shares[:, (radius >= low) & (radius < high)].sum(1)
        for name, (low, high) in BANDS.items()
    }
    folded = (vertical.abs() > 0.5 / stride[0]) | (horizontal.abs() > 0.5 / stride[1])
    edges = torch.linspace(0, 0.5, RINGS + 1, dtype=torch.float64)
    radial = torch.stack(
        [
            shares[:, (radius >= low) & (radius < high)].sum(1).mean()
            for low, high in itertools.pairwise(edges)
        ]
    )
    return FrequencyContent(bands, shares[:, folded].sum(1), radial, (edges[:-1] + edges[1:]) / 2)


def white_noise(stride: tuple[int, int]) -> dict[str, float]:
    """Expected shares of a white-noise filter: of each band, and `aliased`."""
    impulse = torch.zeros(1, 1, 1, 1).fill_(1.0)
    content = frequency_content(impulse, stride)
    shares = {name: float(share[0]) for name, share in content.bands.items()}
    return {**shares, "aliased": float(content.aliased[0])}


@torch.no_grad()
def images_that_excite(
    network: nn.Module | ObservedNetwork, batches: Iterable[Tensor], layers: Iterable[str]
) -> tuple[dict[str, Tensor], int]:
    """Count the images that excite each feature map (above 0 anywhere); 0 means dead on these.

    `batches` are float `[N, 3, H, W]` as the network takes them. Returns int64 `[C]` by layer, and
    the number of images.
    """
    observed = ObservedNetwork.of(network)
    names = list(layers)
    counts: dict[str, Tensor] = {}
    images = 0

    def count(layer: str, output: Tensor) -> None:
        excited = (output > 0).flatten(2).any(2) if output.dim() > 2 else output > 0
        found = excited.sum(0).cpu()
        counts[layer] = counts[layer] + found if layer in counts else found

    for batch in batches:
        observed.run(batch, names, count)
        images += len(batch)
    return counts, images


def _frequencies(size: int) -> tuple[Tensor, Tensor]:
    """Vertical and horizontal frequencies `[size, size]`, in cycles a pixel."""
    frequencies = torch.fft.fftfreq(size, dtype=torch.float64)
    vertical, horizontal = torch.meshgrid(frequencies, frequencies, indexing="ij")
    return vertical, horizontal
