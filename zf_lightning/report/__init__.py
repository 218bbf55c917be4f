"""The static page of a run: what wandb shows online, shown offline."""

from zf_lightning.report.page import write_report
from zf_lightning.report.panel import SPLIT_NAMES, atlas_panel
from zf_lightning.report.sweep_page import write_sweep_report

__all__ = ["SPLIT_NAMES", "atlas_panel", "write_report", "write_sweep_report"]
