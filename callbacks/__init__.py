"""Lightning's and Hydra's callbacks: thin, they call the package."""

from callbacks.deconv_probe import DeconvProbe
from callbacks.fast_network import FastNetwork
from callbacks.filter_renormalisation import FilterRenormalisation
from callbacks.final_checkpoint import FinalCheckpoint
from callbacks.finite import Finite
from callbacks.first_failure import FirstFailure
from callbacks.input_wait import InputWait
from callbacks.last_checkpoint import LastCheckpoint
from callbacks.progress import Progress
from callbacks.stall import Stall
from callbacks.sweep_summary import SweepSummary
from callbacks.wandb_artifacts import WandbArtifacts

__all__ = [
    "DeconvProbe",
    "FastNetwork",
    "FilterRenormalisation",
    "FinalCheckpoint",
    "Finite",
    "FirstFailure",
    "InputWait",
    "LastCheckpoint",
    "Progress",
    "Stall",
    "SweepSummary",
    "WandbArtifacts",
]
