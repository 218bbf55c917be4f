"""task=workspace: lay out a project's runs in the dashboard of Weights & Biases."""

import logging
from typing import Any

import wandb
from omegaconf import DictConfig, ListConfig

from zf_lightning.config.options import names_of
from zf_lightning.errors import UserError
from zf_lightning.report.workspace import build_workspace
from zf_lightning.training.wandb_runs import has_api_key

log = logging.getLogger(__name__)


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
        reason = str(problem).strip().split("\n")[0]
        raise UserError(
            f"Weights & Biases did not take the workspace ({reason}); the project "
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
