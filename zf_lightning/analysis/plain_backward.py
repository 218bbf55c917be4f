"""Projections on a second path: whole images, and autograd through the traced network.

It shares the graph with `zf_lightning.deconv`, and nothing else: no crops, no rules, no batches of
units. Only for the operations of the paper's networks and their like.
"""

from typing import Any

import torch
from torch import Tensor, fx, nn

from zf_lightning.graph import Graph
from zf_lightning.graph.operations import (
    BATCH_NORMS,
    LAYERS,
    SAME_TENSOR,
    VIEWS,
    Kind,
    is_query,
)
from zf_lightning.models.contrast_normalisation import LocalResponseNorm
from zf_lightning.models.evaluation import evaluation_mode

RELU: Kind = frozenset({nn.ReLU, "relu"})
CONTRAST: Kind = frozenset({nn.LocalResponseNorm, LocalResponseNorm, "local_response_norm"})
#: What goes back by its derivative, whatever the method.
BY_DERIVATIVE: Kind = frozenset(
    {
        *(LAYERS | BATCH_NORMS | SAME_TENSOR | VIEWS),
        *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d),
        *("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "cat", "add", "mean"),
    }
)


def has_plain_path(graph: Graph, layer: str) -> bool:
    """Whether all that a layer is computed by is known here."""
    known = RELU | CONTRAST | BY_DERIVATIVE
    return all(
        node is graph.input or is_query(node) or graph.is_kind(node, known)
        for node in graph.below([graph.node(layer)])
        if node in graph.dependent
    )


class PlainBackward:
    """The feature maps of a layer for one image, from which units are projected by autograd.

    Args:
        image: float `[3, H, W]` as the network takes it.
        method: deconvnet, guided or gradient.
        norm: through contrast normalisation: identity or jacobian.
    """

    def __init__(self, graph: Graph, image: Tensor, layer: str, *, method: str, norm: str) -> None:
        node = graph.node(layer)
        self._pixels = image[None].detach().clone().requires_grad_()
        runner = _Runner(graph, graph.below([node]), method, norm)
        with torch.enable_grad(), evaluation_mode(graph.network):
            # The pixels stay a leaf, which an operation in place may not change.
            value = runner.run_to(node, self._pixels.clone())
        self._maps: Tensor = graph.as_maps(node, value, 1)[0]
        #: `[C, H, W]`, or `[C]`.
        self.maps = self._maps.detach()

    def project(self, feature_map: int, row: int, column: int) -> Tensor:
        """A unit's activation, down to the pixels `[3, H, W]`."""
        at = (feature_map, row, column)[: self.maps.dim()]
        activation = self._maps[at]
        (found,) = torch.autograd.grad(
            activation, self._pixels, activation.detach(), retain_graph=True
        )
        return found[0]


class _Runner(fx.Interpreter):
    def __init__(self, graph: Graph, needed: list[fx.Node], method: str, norm: str) -> None:
        super().__init__(graph.network, graph=graph.graph, garbage_collect_values=False)
        self._graph, self._needed, self._method, self._norm = graph, set(needed), method, norm

    def run_to(self, node: fx.Node, pixels: Tensor) -> Any:
        self.run(pixels)
        return self.env[node]

    def run_node(self, n: fx.Node) -> Any:
        if n not in self._needed:
            return None
        if n not in self._graph.dependent:
            return super().run_node(n)
        if self._method != "gradient" and self._graph.is_kind(n, RELU):
            return _Rectified.apply(self.env[n.all_input_nodes[0]], self._method == "guided")
        if self._norm == "identity" and self._graph.is_kind(n, CONTRAST):
            values = self.env[n.all_input_nodes[0]]
            with torch.no_grad():
                change = super().run_node(n) - values
            return values + change
        return super().run_node(n)


class _Rectified(torch.autograd.Function):
    """A ReLU that rectifies the signal on the way down (Sec. 2.1); `guided` by its own sign too."""

    @staticmethod
    def forward(context: Any, values: Tensor, guided: bool) -> Tensor:
        context.save_for_backward(values if guided else None)
        return values.clamp_min(0)

    @staticmethod
    def backward(context: Any, signal: Tensor) -> Any:
        (values,) = context.saved_tensors
        signal = signal.clamp_min(0)
        return (signal if values is None else signal * (values > 0)), None
