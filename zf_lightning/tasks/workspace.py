"""task=workspace: lay out a project's runs in the dashboard of Weights & Biases."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wandb
import wandb_workspaces.reports.v2 as panels
import wandb_workspaces.workspaces as workspaces
from omegaconf import DictConfig, ListConfig
from wandb_workspaces import expr

from zf_lightning.config.options import names_of
from zf_lightning.errors import UserError, reason_of
from zf_lightning.results import metric_names as names
from zf_lightning.system.compat import spec_of
from zf_lightning.system.files import write_whole
from zf_lightning.training.wandb_options import has_api_key

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
    """Save the layout as a view of its own in `logger.wandb.project`, and a report beside it.

    The report compares the runs of the sweep `logger.wandb.group`, or all. Returns where both are.
    Without an account they are written to the run's folder, as wandb's server would take them.
    Raises UserError where wandb's server does not take them.
    """
    options = config.logger.get("wandb")
    if options is None:
        raise UserError("task=workspace needs logger=wandb: it says which project is meant.")
    project, layers = str(options.project), choose_layers(config)
    if not has_api_key():
        entity = options.entity or "entity"
        workspace = build_workspace(entity=entity, project=project, layers=layers)
        report = build_report(entity=entity, group=options.group, project=project, layers=layers)
        folder = Path(config.paths.run)
        for name, view in (("workspace", workspace), ("report", report)):
            write_whole(folder / f"{name}.json", json.dumps(spec_of(view), indent=2))
        log.info(
            "There is no account of Weights & Biases here: workspace.json and report.json in "
            f"{folder} are what its server would get. After wandb login, the same command saves "
            "them there."
        )
        return {"task": "workspace", "url": None, "report": None, "layers": layers}
    try:
        entity = str(options.entity or wandb.Api().default_entity)
        workspace = build_workspace(entity=entity, project=project, layers=layers)
        workspace.save()
        report = build_report(entity=entity, group=options.group, project=project, layers=layers)
        report.save()
        urls = {"url": workspace.url, "report": report.url}
    except Exception as problem:
        # The errors of wandb's clients have no class in common.
        raise UserError(
            f"Weights & Biases did not take the workspace ({reason_of(problem)}); the project "
            f"{options.project} must exist: upload a run first. logger.wandb.entity=NAME says "
            "whose it is."
        ) from problem
    log.info(f"The runs of {entity}/{options.project}, laid out: {urls['url']}")
    log.info(f"A report that compares them: {urls['report']}")
    return {"task": "workspace", **urls, "layers": layers}


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
                panels=_error_panels(),
            ),
            workspaces.Section(
                name="What excites each layer, and its projections (Fig. 2)",
                is_open=True,
                panels=_pictures(layers),
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
                    _curve("Images a second", [names.IMAGES_PER_SECOND], x=names.EPOCH),
                    _curve(
                        "Share of the time that training waits for images, %",
                        [names.DATA_WAIT],
                        x=names.EPOCH,
                    ),
                    panels.LinePlot(
                        title="Largest RMS of a filter (Sec. 3)",
                        x=STEP,
                        metric_regex=names.filter_rms(".*"),
                    ),
                    panels.LinePlot(
                        title="Dead feature maps",
                        x=names.EPOCH,
                        metric_regex=names.dead_maps(".*"),
                    ),
                    _curve("Stalled", [names.STALLED], x=names.EPOCH),
                ],
            ),
        ],
    )


def build_report(
    *, entity: str, project: str, layers: Sequence[str], group: str | None
) -> panels.Report:
    """Runs beside one another, by their ablations: errors, curves, and what excites the layers.

    Args:
        entity, layers: as for `build_workspace`.
        group: a sweep's name, to compare its runs alone.
    """
    # Those of the report's own project; another would be looked up on the server.
    runs = panels.Runset(
        name=group or "all runs",
        filters="" if group is None else expr.And(expr.Metric("Group") == group),
        groupby=["config.ablation"],
        order=[panels.OrderBy(panels.SummaryMetric(names.VAL_TOP1), ascending=True)],
    )
    return panels.Report(
        entity=entity,
        project=project,
        title=f"Ablations of {group or project}",
        description="Errors in percent, of each run's best epoch; lines are means of a group.",
        width="fluid",
        blocks=[
            panels.H2("Errors"),
            panels.PanelGrid(runsets=[runs], panels=_error_panels()),
            panels.H2("What excites each layer, and its projections (Fig. 2)"),
            panels.PanelGrid(runsets=[runs], panels=_pictures(layers)),
        ],
    )


def _error_panels() -> list[Any]:
    return [
        _curve("Top-1 error, %", [names.VAL_TOP1, names.TRAIN_TOP1], x=names.EPOCH),
        _curve("Top-5 error, %", [names.VAL_TOP5], x=names.EPOCH),
        _curve("Loss", [names.VAL_LOSS, names.TRAIN_LOSS]),
        panels.BarPlot(
            title="Test error with ten crops, %",
            metrics=[names.TEST_TOP1_TENCROP, names.TEST_TOP5_TENCROP],
        ),
    ]


def _pictures(layers: Sequence[str]) -> list[Any]:
    return [
        panels.MediaBrowser(title=layer, media_keys=[f"probe/{layer}"], num_columns=1)
        for layer in layers
    ]


def _curve(title: str, metrics: Sequence[str], *, x: str = STEP) -> panels.LinePlot:
    return panels.LinePlot(title=title, x=x, y=[*metrics])
