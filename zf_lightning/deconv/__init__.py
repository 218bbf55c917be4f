"""The deconvnet: units of a traced network projected back to pixels (Sec. 2).

>>> from zf_lightning.deconv import Deconvnet, Unit
>>> unit = Unit(image=0, layer="conv5", feature_map=7, row=6, column=6)
>>> Deconvnet(network).project(images, [unit]).pixels  # [1, 3, H, W]
"""

from zf_lightning.deconv.backward import Method
from zf_lightning.deconv.contrast import Contrast, contrast
from zf_lightning.deconv.deconvnet import Deconvnet
from zf_lightning.deconv.projection import ForwardState
from zf_lightning.deconv.receptive_field import ReceptiveField, Window
from zf_lightning.deconv.units import Projections, Unit, Units, WindowProjections

__all__ = [
    "Contrast",
    "Deconvnet",
    "ForwardState",
    "Method",
    "Projections",
    "ReceptiveField",
    "Unit",
    "Units",
    "Window",
    "WindowProjections",
    "contrast",
]
