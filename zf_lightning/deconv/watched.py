"""A traced network that is run as it is, while the outputs of some nodes are kept."""

from collections.abc import Collection, Mapping
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


def watching(
    network: nn.Module,
    graph: fx.Graph,
    wanted: Mapping[str, fx.Node],
    overwritten: Collection[fx.Node],
) -> fx.GraphModule:
    """A module that does the same as `Watched`, as code, which torch.compile can work on.

    It has the network's own parts, gives `(output, {name: output of the node})`, and may be
    compiled as a whole, where a graph that is run node by node would not be compiled at all.
    """
    copied = fx.Graph()
    twins: dict[fx.Node, fx.Node] = {}
    output = copied.graph_copy(graph, twins)
    found = {}
    for name, node in wanted.items():
        found[name] = twins[node]
        if node in overwritten:
            with copied.inserting_after(twins[node]):
                found[name] = copied.call_method("clone", (twins[node],))
    copied.output((output, found))
    return fx.GraphModule(network, copied)
