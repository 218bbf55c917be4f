"""The deconvnet: units of a traced network projected back to pixels (Sec. 2).

from zf_lightning.deconv import Deconvnet, Unit

unit = Unit(image=0, layer="conv5", feature_map=7, row=6, column=6)
Deconvnet(network).project(images, [unit]).pixels  # [1, 3, H, W]
"""

from zf_lightning.deconv.atlas import Atlas, LayerAtlas, Mismatch, epoch_files
from zf_lightning.deconv.build_atlas import ImageBatch, build_atlas
from zf_lightning.deconv.deconvnet import Deconvnet
from zf_lightning.deconv.kept_images import KeptImages
from zf_lightning.deconv.receptive_field import ReceptiveField, Window
from zf_lightning.deconv.reversal import Mode, Reversal, Support
from zf_lightning.deconv.rules import RULES
from zf_lightning.deconv.search import FoundActivations
from zf_lightning.deconv.top_activations import TopActivations, TopImages
from zf_lightning.deconv.units import Projections, Unit, Units, WindowProjections

__all__ = [
    "RULES",
    "Atlas",
    "Deconvnet",
    "FoundActivations",
    "ImageBatch",
    "KeptImages",
    "LayerAtlas",
    "Mismatch",
    "Mode",
    "Projections",
    "ReceptiveField",
    "Reversal",
    "Support",
    "TopActivations",
    "TopImages",
    "Unit",
    "Units",
    "Window",
    "WindowProjections",
    "build_atlas",
    "epoch_files",
]
