"""A project's runs laid out in the dashboard of Weights & Biases: errors, Fig. 2, speed, tables."""

from collections.abc import Sequence

import wandb_workspaces.reports.v2 as panels
import wandb_workspaces.workspaces as workspaces

NAME = "zf-lightning"
#: What Lightning's logger counts by.
STEP = "trainer/global_step"
#: Those that sweeps, ensembles and transfer log.
TABLES = ("table", "ensemble", "table_4", "table_5", "average_precision", "accuracy")


def build_workspace(*, entity: str, project: str, layers: Sequence[str]) -> workspaces.Workspace:
    """The layout; panels of what no run has logged are empty.

    Args:
        entity: a user or a team.
        layers: those whose pictures the probe logs.
    """
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            workspaces.Section(
                name="Errors",
                is_open=True,
                panels=[
                    _curve("Top-1 error, %", ["val/top1_error", "train/top1_error"]),
                    _curve("Top-5 error, %", ["val/top5_error"]),
                    _curve("Loss", ["val/loss", "train/loss"]),
                    panels.BarPlot(
                        title="Test error with ten crops, %",
                        metrics=["test/top1_error_tencrop", "test/top5_error_tencrop"],
                    ),
                ],
            ),
            workspaces.Section(
                name="What excites each layer, and its projections (Fig. 2)",
                is_open=True,
                panels=[
                    panels.MediaBrowser(title=layer, media_keys=[f"probe/{layer}"], num_columns=1)
                    for layer in layers
                ],
            ),
            workspaces.Section(
                name="Tables 2 to 7",
                is_open=True,
                panels=[panels.WeavePanelSummaryTable(table_name=name) for name in TABLES],
            ),
            workspaces.Section(
                name="Training",
                panels=[
                    _curve("Learning rate", ["train/learning_rate"]),
                    _curve("Images a second", ["train/images_per_second"]),
                    _curve("Share of the time that training waits for images, %", ["data/wait"]),
                    panels.LinePlot(
                        title="Largest RMS of a filter (Sec. 3)",
                        x=STEP,
                        metric_regex="filters/.*_rms",
                    ),
                    _curve("Stalled", ["train/stalled"]),
                ],
            ),
        ],
    )


def _curve(title: str, metrics: Sequence[str]) -> panels.LinePlot:
    return panels.LinePlot(title=title, x=STEP, y=[*metrics])
