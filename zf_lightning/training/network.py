"""The network of a model's configuration: of layers, from torchvision, or the user's own."""

import contextlib
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from hydra.utils import get_object
from torch import Tensor, nn

from zf_lightning.config.instantiate import check_target, instantiate
from zf_lightning.errors import UserError, reason_of
from zf_lightning.models import build_convnet, giving_logits, initialise
from zf_lightning.models.evaluation import run_blank


def build_network(model: Mapping[str, Any], *, classes: int) -> nn.Module:
    """The initialised network of a model configuration: of layers, or made by a `_target_`.

    A target gets the number of classes as `num_classes` or `classes`, whichever it takes.
    Raises UserError where it cannot be built.
    """
    node = model.get("network")
    if node is None:
        return build_convnet(model, classes=classes)
    if "_target_" not in node:
        raise UserError("model.network._target_ must be given: package.module.Class of a network.")
    check_target(node, where="model.network")
    network = instantiate(node, **_classes_option(node, classes))
    if not isinstance(network, nn.Module):
        raise UserError(f"model.network: {node['_target_']} made no torch.nn.Module.")
    initialise(network, model["initialisation"])
    return giving_logits(network, model.get("logits"))


def build_blank_network(model: Mapping[str, Any], *, classes: int) -> nn.Module:
    """A network to look names and shapes up in, without memory for its weights where it can be."""
    with contextlib.suppress(UserError, RuntimeError), torch.device("meta"):
        return build_network(model, classes=classes)
    # It reads a value while it is built, as torch.linspace(…).item(), and there are none.
    with torch.random.fork_rng(devices=[]):
        return build_network(model, classes=classes)


def check_network(network: nn.Module, *, input_size: int, classes: int) -> None:
    """Raise UserError if the network does not turn images into one number for each class.

    Runs one blank image through it.
    """
    kind = type(network).__name__
    try:
        found = run_blank(network, input_size=input_size)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as problem:
        raise UserError(
            f"{kind} does not take an image of {input_size} pixels and 3 channels "
            f"({reason_of(problem)}); choose its input with model.input_size."
        ) from problem
    if not isinstance(found, Tensor) or found.dim() != 2:
        given = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise UserError(
            f"{kind} gives {given} for an image of {input_size} pixels: a network here gives "
            "logits [N, classes]; of several outputs, model.logits names them."
        )
    if found.shape[1] != classes:
        raise UserError(
            f"{kind} gives {found.shape[1]} outputs, and there are {classes} classes: give "
            f"model.network an option that makes it give {classes}."
        )


def _classes_option(node: Mapping[str, Any], classes: int) -> dict[str, int]:
    known = inspect.signature(get_object(node["_target_"])).parameters
    for name in ("num_classes", "classes"):
        if name in known and name not in node:
            return {name: classes}
    return {}
