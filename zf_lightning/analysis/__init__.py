"""The paper's analyses other than the deconvnet: functions of a network and images (Sec. 4)."""

from zf_lightning.analysis.correspondence import (
    Consistency,
    Correspondence,
    below_random,
    correspondence,
)
from zf_lightning.analysis.evolution import LayerEvolution, epochs_to_show, evolution
from zf_lightning.analysis.filters import first_layer, frequency_content, images_that_excite
from zf_lightning.analysis.invariance import Invariance, invariance, transformed
from zf_lightning.analysis.observed import ObservedNetwork
from zf_lightning.analysis.occlusion import Occlusion, occlude
from zf_lightning.analysis.randomisation import Randomisation, randomise_layers, strongest_units

__all__ = [
    "Consistency",
    "Correspondence",
    "Invariance",
    "LayerEvolution",
    "ObservedNetwork",
    "Occlusion",
    "Randomisation",
    "below_random",
    "correspondence",
    "epochs_to_show",
    "evolution",
    "first_layer",
    "frequency_content",
    "images_that_excite",
    "invariance",
    "occlude",
    "randomise_layers",
    "strongest_units",
    "transformed",
]
