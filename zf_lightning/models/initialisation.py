"""How a network's weights start (Sec. 3 of the paper, and an alternative)."""

import math
from collections.abc import Callable

from torch import nn

from zf_lightning.errors import UserError

#: Factor on the weights of the first layer in `initialise_he`.
FIRST_LAYER_SCALE = 0.2


def initialise_paper(network: nn.Module) -> None:
    """Weights from a Gaussian of standard deviation 0.01 and biases 0 (Sec. 3).

    The paper says that all weights are "initialised to 1e-2". A constant could not break the
    symmetry between feature maps, so that this is read as the standard deviation, as in
    Krizhevsky's code on which the paper's is based.
    Made for mean-subtracted pixels that stay in about [-128, 128].
    """
    for module in _weighted(network):
        nn.init.normal_(module.weight, std=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def initialise_he(network: nn.Module) -> None:
    """Kaiming-normal weights, so that activations keep their scale, and biases 0.

    Made for pixels divided by their standard deviation. The last layer has no ReLU after it and
    starts at half the variance. The first starts at a fifth: its filters are looked at, and every
    projection goes through them, so that they should show what they have learnt and not the noise
    of their start, which nothing removes in a short training.
    """
    modules = _weighted(network)
    for module in modules:
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if modules:
        modules[-1].weight.data.mul_(math.sqrt(0.5))
        modules[0].weight.data.mul_(FIRST_LAYER_SCALE)


INITIALISATIONS: dict[str, Callable[[nn.Module], None]] = {
    "paper": initialise_paper,
    "he": initialise_he,
    "own": lambda network: None,
}


def initialise(network: nn.Module, name: str) -> None:
    """Initialise `network` in place as `name` says: `paper`, `he`, or `own` (leave it alone).

    Raises UserError for another name.
    """
    if name not in INITIALISATIONS:
        raise UserError(
            f"model.initialisation={name} is not known; it is one of {', '.join(INITIALISATIONS)}."
        )
    INITIALISATIONS[name](network)


def _weighted(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
