"""The static page of a run: what wandb shows online, shown offline."""

from zf_lightning.report.page import write_report
from zf_lightning.report.panel import atlas_panel

__all__ = ["atlas_panel", "write_report"]
