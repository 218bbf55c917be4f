"""Networks of torchvision, by their names there."""

import difflib
from typing import Any

import torchvision
from torch import nn

from zf_lightning.errors import UserError

#: What has to be said so that a network has one output, and computes what its published weights
#: were trained for: those of the Inception family expect images scaled in a way of their own.
OPTIONS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "transform_input": True, "init_weights": True},
    "inception_v3": {"aux_logits": False, "transform_input": True, "init_weights": True},
}


def torchvision_network(name: str, num_classes: int) -> nn.Module:
    """An image classifier of torchvision with random weights.

    Raises UserError if torchvision has none of that name.
    """
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        close = difflib.get_close_matches(name, names, n=3)
        raise UserError(
            f"torchvision has no model.name={name}; it has {', '.join(close or names)}."
        )
    network: nn.Module = torchvision.models.get_model(
        name, weights=None, num_classes=num_classes, **OPTIONS.get(name, {})
    )
    return network


def imagenet_class_names() -> list[str]:
    """Names of ImageNet's 1,000 classes, in the order in which published weights have them."""
    weights = torchvision.models.get_model_weights("resnet18")
    return list(next(iter(weights)).meta["categories"])
