"""Lightning's and Hydra's callbacks: thin, they call the package."""

from callbacks.deconv_probe import DeconvProbe
from callbacks.filter_renormalisation import FilterRenormalisation
from callbacks.input_wait import InputWait
from callbacks.last_checkpoint import LastCheckpoint
from callbacks.progress import Progress
from callbacks.sweep_summary import SweepSummary

__all__ = [
    "DeconvProbe",
    "FilterRenormalisation",
    "InputWait",
    "LastCheckpoint",
    "Progress",
    "SweepSummary",
]
