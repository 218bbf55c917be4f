"""Lightning's and Hydra's callbacks: thin, they call the package.

Each is imported when it is first asked for: Hydra asks for `SweepSummary` at every start, and the
others need Lightning.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zf_lightning.callbacks.best_checkpoint import BestCheckpoint
    from zf_lightning.callbacks.deconv_probe import DeconvProbe
    from zf_lightning.callbacks.fast_network import FastNetwork
    from zf_lightning.callbacks.filter_renormalisation import FilterRenormalisation
    from zf_lightning.callbacks.final_checkpoint import FinalCheckpoint
    from zf_lightning.callbacks.finite import Finite
    from zf_lightning.callbacks.first_failure import FirstFailure
    from zf_lightning.callbacks.input_wait import InputWait
    from zf_lightning.callbacks.last_checkpoint import LastCheckpoint
    from zf_lightning.callbacks.progress import Progress
    from zf_lightning.callbacks.stall import Stall
    from zf_lightning.callbacks.sweep_summary import SweepSummary
    from zf_lightning.callbacks.wandb_artifacts import WandbArtifacts

__all__ = [
    "BestCheckpoint",
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


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    words = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
    return getattr(importlib.import_module(f"{__name__}.{words}"), name)
