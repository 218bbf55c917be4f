"""A convolutional network built from layer specifications (Fig. 3 of the paper)."""

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

from zf_lightning.errors import UserError
from zf_lightning.models.contrast_normalisation import LocalResponseNorm
from zf_lightning.models.specification import (
    ContrastNormalisation,
    Convolution,
    FullyConnected,
    Specification,
)

Kind = TypeVar("Kind", bound=Specification)


class ConvNet(nn.Sequential):
    """Convolutional stages, fully connected layers, and one output a class.

    A layer called `conv1` contributes the modules `conv1`, `conv1_relu` and, if it has them,
    `conv1_pool` and `conv1_norm`; a fully connected `fc6` contributes `fc6`, `fc6_relu` and
    `fc6_dropout`. A layer whose specification is None is left out, and what follows takes its
    size from what is there.

    Args:
        convs: the convolutional stages by name, in order.
        fcs: the hidden fully connected layers by name, in order.
        classes: number of outputs.
        input_size: height and width of the input in pixels.
        width: factor on every number of feature maps and hidden units.
        contrast_normalisation: the constants for the stages that ask for it.
        output: name of the last layer.

    Raises:
        UserError: a layer's output would be empty, or its groups do not divide its feature maps.
    """

    def __init__(
        self,
        convs: Mapping[str, Mapping[str, Any] | Convolution | None],
        fcs: Mapping[str, Mapping[str, Any] | FullyConnected | None],
        *,
        classes: int,
        input_size: int,
        width: float = 1.0,
        contrast_normalisation: Mapping[str, Any] | ContrastNormalisation | None = None,
        output: str = "fc8",
    ) -> None:
        modules: OrderedDict[str, nn.Module] = OrderedDict()
        channels, size = 3, input_size
        for layer, options in _present(convs, Convolution):
            maps = _scaled(options.maps, width)
            if channels % options.groups or maps % options.groups:
                raise UserError(
                    f"{layer}: groups={options.groups} does not divide its {channels} input and "
                    f"{maps} output feature maps."
                )
            if options.ceil_mode:
                overhang = -(size + 2 * options.padding - options.kernel) % options.stride
                if overhang:
                    modules[f"{layer}_pad"] = nn.ZeroPad2d((0, overhang, 0, overhang))
                    size += overhang
            modules[layer] = nn.Conv2d(
                channels,
                maps,
                options.kernel,
                options.stride,
                options.padding,
                groups=options.groups,
            )
            modules[f"{layer}_relu"] = nn.ReLU(inplace=True)
            size = (size + 2 * options.padding - options.kernel) // options.stride + 1
            if options.pool is not None and size > 0:
                pool = options.pool
                modules[f"{layer}_pool"] = nn.MaxPool2d(
                    pool.kernel, pool.stride, ceil_mode=pool.ceil_mode
                )
                size = _pooled_size(size, pool.kernel, pool.stride, pool.ceil_mode)
            if size < 1:
                raise UserError(
                    f"{layer} has nothing left to see: the input of {input_size} pixels is too "
                    "small for the layers up to it."
                )
            if options.norm:
                if contrast_normalisation is None:
                    raise UserError(
                        f"{layer} asks for contrast normalisation, but the model's "
                        "contrast_normalisation is not given."
                    )
                constants = ContrastNormalisation.read(
                    contrast_normalisation, name="contrast_normalisation"
                )
                modules[f"{layer}_norm"] = LocalResponseNorm(
                    constants.size, constants.alpha, constants.beta, constants.k
                )
            channels = maps
        modules["flatten"] = nn.Flatten()
        features = channels * size * size
        for layer, hidden in _present(fcs, FullyConnected):
            units = _scaled(hidden.units, width)
            modules[layer] = nn.Linear(features, units)
            modules[f"{layer}_relu"] = nn.ReLU(inplace=True)
            if hidden.dropout:
                modules[f"{layer}_dropout"] = nn.Dropout(hidden.dropout)
            features = units
        if output in modules:
            raise UserError(f"output={output} is the name of another layer.")
        modules[output] = nn.Linear(features, classes)
        super().__init__(modules)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers with weights, from the input to the output."""
        return tuple(
            name
            for name, module in self.named_children()
            if isinstance(module, nn.Conv2d | nn.Linear)
        )


def _present(
    layers: Mapping[str, Mapping[str, Any] | Kind | None], kind: type[Kind]
) -> list[tuple[str, Kind]]:
    return [
        (layer, kind.read(options, name=layer))
        for layer, options in layers.items()
        if options is not None
    ]


def _scaled(number: int, width: float) -> int:
    return max(1, round(number * width))


def _pooled_size(size: int, kernel: int, stride: int, ceil_mode: bool) -> int:
    if not ceil_mode:
        return (size - kernel) // stride + 1
    windows = math.ceil((size - kernel) / stride) + 1
    # PyTorch drops a last window that would start beyond the border.
    return windows - 1 if (windows - 1) * stride >= size else windows
