"""A traced network that is run as it is, while the outputs of some nodes are kept."""

from collections.abc import Collection
from typing import Any

from torch import Tensor, fx, nn


class Watched(fx.Interpreter):
    """Runs a traced network and keeps the outputs of some nodes, in `found`.

    Args:
        wanted: the nodes.
        needed: the nodes that are run; all, if None.
        overwritten: nodes whose outputs are changed in place afterwards.
    """

    def __init__(
        self,
        network: nn.Module,
        graph: fx.Graph,
        wanted: Collection[fx.Node],
        needed: Collection[fx.Node] | None,
        overwritten: Collection[fx.Node],
    ) -> None:
        super().__init__(network, graph=graph)
        self.wanted = set(wanted)
        #: All, if None.
        self.needed = needed
        self.overwritten = overwritten
        self.found: dict[fx.Node, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        if self.needed is not None and n not in self.needed:
            return None
        value = super().run_node(n)
        if n in self.wanted:
            self.found[n] = value.clone() if n in self.overwritten else value
        return value
