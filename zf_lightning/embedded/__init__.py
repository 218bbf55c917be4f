"""The embedded dataset: ten classes of composed objects with named parts, drawn by code.

It needs no network, and it carries what real datasets lack: the true mask of each object and the
coordinates of its parts, so that analyses can be scored. Nothing here imports torch: the processes
that draw start quickly.
"""

from zf_lightning.embedded.classes import CLASSES, PARTS
from zf_lightning.embedded.dataset import DEFAULT_COUNTS, VERSION, draw_dataset
from zf_lightning.embedded.draw import SPLITS, Drawing, draw_image

__all__ = [
    "CLASSES",
    "DEFAULT_COUNTS",
    "PARTS",
    "SPLITS",
    "VERSION",
    "Drawing",
    "draw_dataset",
    "draw_image",
]
