"""Feature maps of a network's own forward passes, as a training makes them."""

from collections import Counter
from collections.abc import Collection
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils.hooks import RemovableHandle

from zf_lightning.deconv.graph import Graph
from zf_lightning.errors import UserError


class Listener:
    """While it listens, keeps the outputs of some layers of each forward pass in training mode.

    The graph of a deconvnet is that of evaluation mode, without dropout; a training step runs the
    modules themselves. So this hears of the modules' outputs, which it leaves as they are. Compiled
    code would not call it: meanwhile whatever torch.compile has compiled runs uncompiled.

    Args:
        graph: of the network.
        layers: names as `Graph.node` knows them.

    Raises:
        UserError: a layer's output is that of no module, but of an operation in a `forward`.
    """

    def __init__(self, graph: Graph, layers: Collection[str]) -> None:
        self.network = graph.network
        #: The outputs of the newest forward pass, detached: `[N, C, H, W]` or `[N, C]`.
        self.found: dict[str, Tensor] = {}
        #: For each module and each of its uses in a forward pass, the layer that is meant.
        self._heard: dict[str, dict[int, str]] = {}
        self._copied: set[str] = set()
        self._uses: Counter[str] = Counter()
        self._listening: ExitStack | None = None
        for layer in layers:
            node = graph.node(layer)
            while node.op != "call_module" and graph.is_rectifier(node):
                # What is strongest before it is strongest behind it.
                node = node.all_input_nodes[0]
            if node.op != "call_module":
                raise UserError(
                    f"{layer} is no module but an operation in a forward (node {node.name}), and "
                    "only modules can be watched in training: name a module."
                )
            module = str(node.target)
            self._heard.setdefault(module, {})[_earlier_uses(graph, node)] = layer
            if graph.is_overwritten(node):
                self._copied.add(layer)

    def start(self) -> None:
        """Begin to listen; a second call changes nothing."""
        if self._listening is not None:
            return
        self._listening = ExitStack()
        self._listening.enter_context(torch.compiler.set_stance("force_eager"))
        self._hear(self.network.register_forward_pre_hook(self._begin))
        for name in self._heard:
            module = self.network.get_submodule(name)
            self._hear(module.register_forward_hook(self._hook_of(name)))

    def stop(self) -> None:
        """Leave no hook behind, and let go of the outputs."""
        if self._listening is not None:
            self._listening.close()
        self._listening = None
        self.found = {}

    def _hear(self, handle: RemovableHandle) -> None:
        assert self._listening is not None
        self._listening.callback(handle.remove)

    def _begin(self, network: nn.Module, inputs: Any) -> None:
        self._uses.clear()
        self.found = {}

    def _hook_of(self, name: str) -> Any:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            layer = self._heard[name].get(self._uses[name])
            self._uses[name] += 1
            if layer is None or not self.network.training:
                return
            output = output.detach()
            self.found[layer] = output.clone() if layer in self._copied else output

        return keep


def _earlier_uses(graph: Graph, node: fx.Node) -> int:
    uses = [one for one in graph.graph.nodes if one.op == node.op and one.target == node.target]
    return uses.index(node)
