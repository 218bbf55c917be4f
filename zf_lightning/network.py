"""From a model's configuration to a network: of layers, of torchvision, or of the user's own."""

import inspect
from collections.abc import Mapping
from typing import Any

from hydra.utils import get_object
from torch import nn

from zf_lightning.errors import UserError
from zf_lightning.instantiate import check_target, instantiate
from zf_lightning.models import build_convnet, initialise


def build_network(model: Mapping[str, Any], *, classes: int) -> nn.Module:
    """The initialised network of a model configuration: of layers, or made by a `_target_`.

    A target gets the number of classes as `num_classes` or `classes`, whichever it takes.
    Raises UserError where it cannot be built.
    """
    node = model.get("network")
    if node is None:
        return build_convnet(model, classes=classes)
    check_target(node, where="model.network")
    network = instantiate(node, **_classes_option(node, classes))
    if not isinstance(network, nn.Module):
        raise UserError(f"model.network: {node['_target_']} made no torch.nn.Module.")
    initialise(network, model["initialisation"])
    return network


def _classes_option(node: Mapping[str, Any], classes: int) -> dict[str, int]:
    known = inspect.signature(get_object(node["_target_"])).parameters
    for name in ("num_classes", "classes"):
        if name in known and name not in node:
            return {name: classes}
    return {}
