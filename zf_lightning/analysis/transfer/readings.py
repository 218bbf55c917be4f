"""Stages of a network, and the features after each of them, for classifiers (Table 7).

The rule, for any network that can be traced: everything that reaches the output passes through a
chain of values, such as those after a convolution of ZFNet, the sum that ends a residual block, or
the concatenation that ends an Inception or a Fire module. The part between two of them, if it has
weights, is a stage, named by its layer or by the module that contains all its layers. Its features
are the last such value before the next stage, or before the feature maps are flattened: after its
ReLU, pooling and contrast normalisation, if any. A stage inside the module of the next one
(`squeeze` of a Fire module) is part of that one.

The paper numbers its layers this way, but does not say whether Table 7 takes them before or after
pooling and normalisation; here they are what the next layer gets.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from zf_lightning.errors import UserError
from zf_lightning.graph import Graph, run
from zf_lightning.graph.operations import (
    BATCH_NORMS,
    LAYERS,
    RECTIFIERS,
    Kind,
    find_ancestors,
)
from zf_lightning.models.contrast_normalisation import LocalResponseNorm

#: Parts of the layer before them, besides its batch normalisation and its ReLU.
FOLLOWERS: Kind = frozenset(
    {
        nn.MaxPool2d,
        nn.AvgPool2d,
        nn.AdaptiveMaxPool2d,
        nn.AdaptiveAvgPool2d,
        nn.Dropout,
        nn.LocalResponseNorm,
        LocalResponseNorm,
        "max_pool2d",
        "avg_pool2d",
        "adaptive_max_pool2d",
        "adaptive_avg_pool2d",
        "local_response_norm",
        "dropout",
    }
)
#: End feature maps, which are captured before.
FLATTENING: Kind = frozenset({nn.Flatten, "flatten", "reshape", "view"})


@dataclass(frozen=True)
class Stage:
    """A part of a network that counts as one layer."""

    name: str
    #: The node of the traced graph whose value is captured.
    node: fx.Node


class Readings:
    """The chosen layers of a network, all captured in one forward pass.

    Args:
        network: in evaluation mode; takes images `[N, 3, H, W]`.
        layers: `all` stages but the output, the `last` of them, or names of stages, modules or
            nodes of the traced graph.
        pooled_size: larger feature maps are average-pooled to this size; None: never.

    Raises:
        UserError: the network cannot be traced, or has no such layer.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: str | Sequence[str] = "all",
        *,
        pooled_size: int | None = 6,
    ) -> None:
        graph = Graph(network)
        self.pooled_size = pooled_size
        self._graph = graph
        stages = find_stages(graph)
        hidden = stages[:-1]
        if layers in ("all", "last"):
            if not hidden:
                raise UserError("The network has no layer below its output to be read.")
            chosen = hidden if layers == "all" else hidden[-1:]
        else:
            names = [layers] if isinstance(layers, str) else list(layers)
            chosen = [_chosen(graph, stages, name) for name in dict.fromkeys(names)]
        self.stages: tuple[Stage, ...] = tuple(chosen)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the chosen layers."""
        return tuple(stage.name for stage in self.stages)

    @property
    def places(self) -> dict[str, str]:
        """For each layer, the node of the graph at which it is captured."""
        return {stage.name: stage.node.name for stage in self.stages}

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Features `[N, D]` of each layer, for images `[N, 3, H, W]` as the network takes them."""
        found: dict[str, Tensor] = {}

        def on_value(node: fx.Node, value: Any) -> None:
            for stage in self.stages:
                if stage.node is node:
                    found[stage.name] = self._reduce(value)

        run(self._graph, images, on_value)
        return found

    def _reduce(self, values: Tensor) -> Tensor:
        size = self.pooled_size
        if size is not None and values.ndim == 4 and max(values.shape[2:]) > size:
            height, width = (min(size, length) for length in values.shape[2:])
            values = functional.adaptive_avg_pool2d(values.float(), (height, width))
        # A copy: later in-place operations may change the values.
        return values.flatten(1).float().clone()


def find_stages(graph: Graph) -> list[Stage]:
    """The stages of a traced network, from the input to the output."""
    stages: list[Stage] = []
    flat = False
    for node, layers in _regions(graph):
        if layers:
            stages.append(Stage(_common_name(layers), node))
            flat = False
        elif stages:
            flat = flat or graph.is_kind(node, FLATTENING)
            if not flat:
                stages[-1] = Stage(stages[-1].name, node)
    merged: list[Stage] = []
    for stage in stages:
        while merged and merged[-1].name.startswith(f"{stage.name}."):
            merged.pop()
        merged.append(stage)
    return merged


def _regions(graph: Graph) -> Iterator[tuple[fx.Node, list[fx.Node]]]:
    """The values that everything passes through, each with the layers since the previous one."""
    nodes = _between(graph)
    place = {node: number for number, node in enumerate(nodes)}
    reach = 0
    layers: list[fx.Node] = []
    for number, node in enumerate(nodes):
        if graph.is_kind(node, LAYERS):
            layers.append(node)
        # No later node needs anything before this one.
        if reach <= number:
            yield node, layers
            layers = []
        reach = max([reach, *(place[user] for user in node.users if user in place)])


def _between(graph: Graph) -> list[fx.Node]:
    """The nodes between the image and the output, in order."""
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    needed = find_ancestors(output.all_input_nodes, within=graph.dependent)
    return [node for node in graph.graph.nodes if node in needed]


def _chosen(graph: Graph, stages: Sequence[Stage], name: str) -> Stage:
    for stage in stages:
        if stage.name == name:
            return stage
    try:
        node = graph.node(name)
    except UserError:
        raise UserError(
            f"There is no layer {name} to be read; the stages of the network are "
            f"{', '.join(stage.name for stage in stages)}."
        ) from None
    kinds = BATCH_NORMS | RECTIFIERS | FOLLOWERS
    while len(node.users) == 1 and graph.is_kind(next(iter(node.users)), kinds):
        node = next(iter(node.users))
    return Stage(name, node)


def _common_name(layers: Sequence[fx.Node]) -> str:
    """The layer's own name, or that of the innermost module with all the layers in it."""
    names = [
        str(node.target) if node.op == "call_module" else node.name.replace("_", ".")
        for node in layers
    ]
    if len(names) == 1:
        return names[0]
    common: list[str] = []
    for parts in zip(*(name.split(".") for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return ".".join(common) or names[-1]
