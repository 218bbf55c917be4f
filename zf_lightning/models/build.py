"""From a model's configuration, as plain data, to a network."""

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

from zf_lightning.models.convnet import ConvNet
from zf_lightning.models.evaluation import run_blank
from zf_lightning.models.initialisation import initialise
from zf_lightning.models.output import find_logits


def build_convnet(model: Mapping[str, Any], *, classes: int) -> ConvNet:
    """An initialised ConvNet of a model configuration with the keys of `conf/model/zfnet.yaml`.

    Raises UserError for layers that cannot be built.
    """
    network = ConvNet(
        model["convs"],
        model["fcs"],
        classes=classes,
        input_size=model["input_size"],
        width=model["width"],
        contrast_normalisation=model.get("contrast_normalisation"),
        output=model["output"],
    )
    initialise(network, model["initialisation"])
    return network


def parameter_count(network: nn.Module) -> int:
    """Number of trained weights and biases."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def layer_table(network: nn.Module, *, input_size: int) -> list[tuple[str, tuple[int, ...], int]]:
    """Name, output shape `(C, H, W)` or `(units,)`, and parameter count of each part of a network.

    A copy of it runs on the meta device: no memory, no time (the sizes in Fig. 3). One that reads
    values, which are not there, runs as it is.
    """
    try:
        return _layer_table(copy.deepcopy(network).to("meta"), input_size=input_size)
    except (RuntimeError, NotImplementedError):
        return _layer_table(network, input_size=input_size)


def _layer_table(network: nn.Module, *, input_size: int) -> list[tuple[str, tuple[int, ...], int]]:
    rows: list[tuple[str, tuple[int, ...], int]] = []
    hooks = [
        module.register_forward_hook(
            lambda part, _, output, name=name: rows.append(
                (name, tuple(find_logits(output).shape[1:]), parameter_count(part))
            )
        )
        for name, module in network.named_children()
        if not isinstance(module, nn.ReLU | nn.Dropout)
    ]
    try:
        run_blank(network, input_size=input_size)
    finally:
        for hook in hooks:
            hook.remove()
    return rows


def check_input_scale(initialisation: str, scale: Any) -> str | None:
    """A warning if the initialisation was made for inputs of another scale, else None.

    `paper` expects raw pixels minus their mean (`scale: none`), `he` pixels divided by their
    standard deviation.
    """
    if initialisation == "paper" and scale != "none":
        return (
            "model.initialisation=paper (weights of standard deviation 0.01) expects pixels in "
            f"about [-128, 128], but model.preprocessing.scale={scale} divides them: the signal "
            "will vanish and training is likely to stall; use model.initialisation=he or "
            "model.preprocessing.scale=none."
        )
    if initialisation == "he" and scale == "none":
        return (
            "model.initialisation=he expects pixels divided by their standard deviation, but "
            "model.preprocessing.scale=none leaves them in about [-128, 128]: the first steps "
            "will be far too large; use model.preprocessing.scale=std or "
            "model.initialisation=paper."
        )
    return None
