"""The part of a network above a layer, run again with other feature maps in it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from zf_lightning.errors import UserError
from zf_lightning.graph.capture import Runner, run
from zf_lightning.graph.network import Graph
from zf_lightning.models.evaluation import evaluation_mode


class Rerun:
    """A forward pass of some images, of which the part above a layer can be repeated.

    Kept is what that part takes from below, also past the layer, as over a skip connection.

    Args:
        graph: of the network.
        layer: whose feature maps are changed.
        images: `[N, C, H, W]`.

    Raises:
        UserError: there is no such layer, or the way from it to the output is not in the graph.
    """

    def __init__(self, graph: Graph, layer: str, images: Tensor) -> None:
        self._graph, self._node, self._images = graph, graph.node(layer), len(images)
        above: set[fx.Node] = set()
        for node in graph.graph.nodes:
            # Unlike `find_dependent`, with what asks for sizes.
            if any(source is self._node or source in above for source in node.all_input_nodes):
                above.add(node)
        if not any(node.op == "output" for node in above):
            raise UserError(
                f"{layer} is inside a module that cannot be traced: its feature maps can be seen, "
                "but not changed."
            )
        below = {source for node in above for source in node.all_input_nodes} - above
        self._kept: dict[fx.Node, Any] = {}

        def keep(node: fx.Node, value: Any) -> None:
            if node in below:
                self._kept[node] = self._own(node, value)

        #: Of the network for the images as they are.
        self.output = run(graph, images, keep)
        self._runner = Runner(graph, above, lambda node, value: None)

    @property
    def maps(self) -> Tensor:
        """The layer's feature maps `[N, C, H, W]`, or `[N, C]`; only to be read."""
        return self._graph.as_maps(self._node, self._kept[self._node], self._images)

    def __call__(self, change: Callable[[Tensor], Any]) -> Any:
        """The network's output where `change` has written into the feature maps that it is given.

        Raises UserError where they are in another order than the network has them.
        """
        value = self._kept[self._node].clone()
        maps = self._graph.as_maps(self._node, value, self._images)
        if maps.untyped_storage().data_ptr() != value.untyped_storage().data_ptr():
            raise UserError(
                f"The feature maps of {self._node.name} are cut into windows: they cannot be "
                "changed. Name another layer."
            )
        given = {node: self._own(node, kept) for node, kept in self._kept.items()}
        given[self._node] = value
        with torch.no_grad(), evaluation_mode(self._graph.network):
            change(maps)
            return self._runner.run(initial_env=given)

    def _own(self, node: fx.Node, value: Any) -> Any:
        """The value, or a copy of one that an operation in place would change."""
        changes = node in self._graph.overwritten and isinstance(value, Tensor)
        return value.clone() if changes else value
