"""Capture in training: feature maps of a network's own forward passes in training mode."""

from collections import Counter
from collections.abc import Collection
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from zf_lightning.errors import UserError
from zf_lightning.graph.inside import LayerInside
from zf_lightning.graph.network import Graph
from zf_lightning.graph.operations import RECTIFIERS


class TrainingCapture:
    """While it is on, keeps the outputs of some layers of each forward pass in training mode.

    The graph is that of evaluation mode, without dropout; a training step runs the modules
    themselves. So this captures the modules' outputs, and leaves them as they are. Compiled code
    would not call it: meanwhile whatever torch.compile has compiled runs uncompiled.

    Args:
        graph: of the network.
        layers: names as `Graph.node` knows them.

    Raises:
        UserError: a layer's output is that of no module, but of an operation in a `forward`; or,
            during a pass, a module is called more or less often than in evaluation mode, so that
            its calls cannot be told apart.
    """

    def __init__(self, graph: Graph, layers: Collection[str]) -> None:
        self.network = graph.network
        #: The outputs of the newest forward pass, detached: `[N, C, H, W]` or `[N, C]`.
        self.outputs: dict[str, Tensor] = {}
        #: For each module and each of its calls in a forward pass, the layer that is meant.
        self._layers: dict[str, dict[int, str]] = {}
        self._expected_calls: dict[str, int] = {}
        self._copied: set[str] = set()
        self._calls: Counter[str] = Counter()
        self._hooks: ExitStack | None = None
        for layer in layers:
            node = graph.node(layer)
            while node.op != "call_module" and graph.is_kind(node, RECTIFIERS):
                # What is strongest before it is strongest behind it.
                node = node.all_input_nodes[0]
            inside = node.target.layer if isinstance(node.target, LayerInside) else None
            if node.op != "call_module" and inside is None:
                raise UserError(
                    f"{layer} is not a module but an operation in a forward (node {node.name}), "
                    "and only modules can be captured in training: name a module."
                )
            module, calls = inside or str(node.target), graph.calls(node)
            self._layers.setdefault(module, {})[calls.index(node)] = layer
            self._expected_calls[module] = len(calls)
            if node in graph.overwritten:
                self._copied.add(layer)

    def start(self) -> None:
        """Begin to capture; a second call changes nothing."""
        if self._hooks is not None:
            return
        self._hooks = hooks = ExitStack()
        hooks.enter_context(torch.compiler.set_stance("force_eager"))
        network = self.network
        hooks.callback(network.register_forward_pre_hook(self._begin).remove)
        hooks.callback(network.register_forward_hook(self._check_calls).remove)
        for name in self._layers:
            hook = network.get_submodule(name).register_forward_hook(self._hook_of(name))
            hooks.callback(hook.remove)

    def stop(self) -> None:
        """Leave no hook behind, and let go of the outputs."""
        if self._hooks is not None:
            self._hooks.close()
        self._hooks = None
        self.outputs = {}

    def _begin(self, network: nn.Module, inputs: Any) -> None:
        self._calls.clear()
        self.outputs = {}

    def _check_calls(self, network: nn.Module, inputs: Any, output: Any) -> None:
        for module, expected in self._expected_calls.items():
            if network.training and self._calls[module] != expected:
                raise UserError(
                    f"Module {module} is called {self._calls[module]} times in training, but "
                    f"{expected} times in evaluation, so that its feature maps cannot be told "
                    "apart: choose other layers, or probe.split=val."
                )

    def _hook_of(self, name: str) -> Any:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            layer = self._layers[name].get(self._calls[name])
            self._calls[name] += 1
            if layer is None or not self.network.training:
                return
            output = output.detach()
            self.outputs[layer] = output.clone() if layer in self._copied else output

        return keep
