"""Published networks, made small enough for tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from tests.deconv.oracles import randomise
from zf_lightning.models import ConvNet

MODELS = Path(__file__).parents[2] / "conf" / "model"


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return {
        **base,
        **{
            key: merged(base[key], value)
            if isinstance(value, dict) and isinstance(base.get(key), dict)
            else value
            for key, value in change.items()
        },
    }


def narrow(name: str) -> ConvNet:
    """A network of `conf/model` with few maps and small fully connected layers."""
    model = yaml.safe_load((MODELS / "zfnet.yaml").read_text())["model"]
    model = merged(model, yaml.safe_load((MODELS / f"{name}.yaml").read_text())["model"])
    return ConvNet(
        model["convs"],
        model["fcs"],
        classes=3,
        input_size=model["input_size"],
        width=1 / 96,
        contrast_normalisation=model["contrast_normalisation"],
    )


def built(kind: Callable[..., nn.Module]) -> nn.Module:
    """The network in float64 with random weights, and 16 units in each fully connected layer."""
    with torch.device("meta"):
        network = kind()
        before = 0
        for name, module in list(network.named_modules()):
            if isinstance(module, nn.Linear):
                parent, _, child = name.rpartition(".")
                size = 16 if module.in_features == before else module.in_features
                setattr(network.get_submodule(parent), child, nn.Linear(size, 16))
                before = module.out_features
    network = network.double().to_empty(device="cpu").requires_grad_(False)
    randomise(network.state_dict().items())
    return network
