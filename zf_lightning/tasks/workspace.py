"""task=workspace: lay out a project's runs in the dashboard of Weights & Biases."""

import logging
from collections.abc import Sequence
from typing import Any

import wandb
import wandb_workspaces.reports.v2 as panels
import wandb_workspaces.workspaces as workspaces
from omegaconf import DictConfig, ListConfig

from zf_lightning.config.options import names_of
from zf_lightning.errors import UserError, reason_of
from zf_lightning.results import metric_names as names
from zf_lightning.training.wandb_runs import has_api_key

log = logging.getLogger(__name__)

NAME = "zf-lightning"
#: What Lightning's logger counts by.
STEP = "trainer/global_step"
#: Those that sweeps, ensembles and transfer log.
TABLES = (
    "feature_maps",
    "table",
    "ensemble",
    "table_4",
    "table_5",
    "average_precision",
    "accuracy",
)


def run(config: DictConfig) -> dict[str, Any]:
    """Save the layout as a view of its own in `logger.wandb.project`; returns where it is.

    Raises UserError without an account, and where wandb's server does not take it.
    """
    options = config.logger.get("wandb")
    if options is None:
        raise UserError("task=workspace needs logger=wandb: it says which project is meant.")
    if not has_api_key():
        raise UserError("A workspace is kept by Weights & Biases' server: run wandb login first.")
    layers = choose_layers(config)
    try:
        entity = options.entity or wandb.Api().default_entity
        workspace = build_workspace(entity=str(entity), project=options.project, layers=layers)
        workspace.save()
        url = workspace.url
    except Exception as problem:
        # The errors of wandb's clients have no class in common.
        raise UserError(
            f"Weights & Biases did not take the workspace ({reason_of(problem)}); the project "
            f"{options.project} must exist: upload a run first. logger.wandb.entity=NAME says "
            "whose it is."
        ) from problem
    log.info(f"The runs of {entity}/{options.project}, laid out: {url}")
    return {"task": "workspace", "url": url, "layers": layers}


def choose_layers(config: DictConfig) -> list[str]:
    """The layers of which the probe logs pictures: those that it is told, or the model's own.

    Raises UserError for a network whose layers only it knows.
    """
    asked = config.probe.layers
    if isinstance(asked, ListConfig):
        return names_of(asked, option="probe.layers")
    convolutions = config.model.get("convs")
    if asked != "conv" or not convolutions:
        raise UserError("Name the layers whose pictures are shown, as probe.layers=[conv1,conv5].")
    return list(convolutions)


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
                    _curve("Top-1 error, %", [names.VAL_TOP1, names.TRAIN_TOP1]),
                    _curve("Top-5 error, %", [names.VAL_TOP5]),
                    _curve("Loss", [names.VAL_LOSS, names.TRAIN_LOSS]),
                    panels.BarPlot(
                        title="Test error with ten crops, %",
                        metrics=[names.TEST_TOP1_TENCROP, names.TEST_TOP5_TENCROP],
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
                name="Feature maps, and Tables 2 to 7",
                is_open=True,
                panels=[panels.WeavePanelSummaryTable(table_name=name) for name in TABLES],
            ),
            workspaces.Section(
                name="Training",
                panels=[
                    _curve("Learning rate", [names.LEARNING_RATE]),
                    _curve("Images a second", [names.IMAGES_PER_SECOND]),
                    _curve(
                        "Share of the time that training waits for images, %", [names.DATA_WAIT]
                    ),
                    panels.LinePlot(
                        title="Largest RMS of a filter (Sec. 3)",
                        x=STEP,
                        metric_regex=names.filter_rms(".*"),
                    ),
                    _curve("Stalled", [names.STALLED]),
                ],
            ),
        ],
    )


def _curve(title: str, metrics: Sequence[str]) -> panels.LinePlot:
    return panels.LinePlot(title=title, x=STEP, y=[*metrics])
