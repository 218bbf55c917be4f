"""Capture: a network's own forward pass, and the feature maps of some of its layers on the way.

Operations need no backward rule here: what runs is the network itself, traced in evaluation mode.
How a pass in training mode is captured stands in `training_capture`.
"""

import itertools
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import torch
from torch import Tensor, fx, nn

from zf_lightning.errors import UserError
from zf_lightning.graph.network import Graph, as_maps
from zf_lightning.graph.operations import LINEAR, RECTIFIERS, evaluate, find_ancestors
from zf_lightning.models.evaluation import evaluation_mode

#: Called with a node and its value as soon as that is there. The value may change afterwards
#: (operations in place): what is wanted of it is taken at once.
OnValue = Callable[[fx.Node, Any], None]


class Runner(fx.Interpreter):
    """Runs a graph, or of it the nodes that are `needed`; `on_value` sees every node's value."""

    def __init__(self, graph: Graph, needed: Collection[fx.Node] | None, on_value: OnValue) -> None:
        super().__init__(graph.network, graph=graph.graph)
        self._needed, self._on_value = needed, on_value

    def run_node(self, n: fx.Node) -> Any:
        """The value of a node; None of one that is not needed."""
        if self._needed is not None and n not in self._needed:
            return None
        value = super().run_node(n)
        self._on_value(n, value)
        return value


def run(
    graph: Graph, images: Tensor, on_value: OnValue, *, up_to: Collection[fx.Node] | None = None
) -> Any:
    """The output of a network for images `[N, C, H, W]`; `on_value` sees every node's value.

    In evaluation mode and without gradients. With `up_to` only what these nodes depend on is run,
    and the output is None.
    """
    needed = None if up_to is None else find_ancestors(up_to)
    try:
        with torch.no_grad(), evaluation_mode(graph.network):
            return Runner(graph, needed, on_value).run(images)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as problem:  # Images that are too small, for one.
        first = str(problem).partition("\n")[0]
        raise UserError(
            f"Images {list(images.shape)} cannot go through the network: {first}"
        ) from problem


def capture(
    graph: Graph, images: Tensor, layers: Collection[str], *, only: bool = False
) -> tuple[Any, dict[str, Tensor]]:
    """The network's output for images `[N, C, H, W]`, and the outputs of `layers`.

    With `only`, what the layers do not depend on is not run, and the output is None.
    Raises UserError for a layer that does not exist.
    """
    nodes = graph.nodes(layers)
    found: dict[fx.Node, Tensor] = {}

    def keep(node: fx.Node, value: Any) -> None:
        if node in wanted:
            value = graph.as_maps(node, value, len(images))
            found[node] = value.clone() if node in graph.overwritten else value

    wanted = set(nodes.values())
    output = run(graph, images, keep, up_to=nodes.values() if only else None)
    return output, {layer: found[node] for layer, node in nodes.items()}


def own_outputs(graph: Graph, nodes: Mapping[str, fx.Node], images: Tensor) -> dict[str, Tensor]:
    """The outputs of layers in a forward pass of the module itself, not of its graph.

    Only of layers that are a module's output, or what a rectifier makes of it. The pass ends with
    the last of them.
    """
    found: dict[str, Tensor] = {}
    modules: dict[str, fx.Node] = {}
    for layer, node in nodes.items():
        while node.op != "call_module" and graph.is_kind(node, RECTIFIERS):
            node = node.all_input_nodes[0]
        if node.op == "call_module":
            modules[layer] = node

    def hook_of(layer: str) -> Callable[..., None]:
        calls = itertools.count(-graph.calls(modules[layer]).index(modules[layer]))

        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            if next(calls) != 0 or not isinstance(output, Tensor):
                return
            values = {modules[layer]: output.clone()}
            for node in graph.below([nodes[layer]]):
                if node.all_input_nodes and node.all_input_nodes[0] in values:
                    values[node] = evaluate(graph.network, node, values)
            found[layer] = graph.as_maps(nodes[layer], values[nodes[layer]], len(images))
            if len(found) == len(modules):
                raise _Enough

        return keep

    with ExitStack() as hooks:
        for layer, node in modules.items():
            module = graph.network.get_submodule(str(node.target))
            hooks.callback(module.register_forward_hook(hook_of(layer)).remove)
        if "torch._dynamo" in sys.modules:
            # Compiled code would not call the hooks.
            hooks.enter_context(torch.compiler.set_stance("force_eager"))
        if modules:
            hooks.enter_context(suppress(_Enough))
            graph.network(images)
    return found


class _Enough(Exception):
    """All that is wanted of a forward pass is there."""


def compiled_capture(
    graph: Graph, layers: Collection[str]
) -> Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]:
    """`capture` for these layers, compiled by torch.compile for each size of batch.

    The layers' outputs cost next to nothing beside the compiled network's own forward pass.
    """
    module = _capturing_module(graph, graph.nodes(layers))
    compiled = torch.compile(module, dynamic=False)

    def run_compiled(images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad(), evaluation_mode(graph.network):
            found: tuple[Tensor, dict[str, Tensor]] = compiled(images)
        return found

    return run_compiled


def _capturing_module(graph: Graph, wanted: Mapping[str, fx.Node]) -> fx.GraphModule:
    """`capture` as code: a graph that is run node by node would not be compiled at all."""
    copied = fx.Graph()
    twins: dict[fx.Node, fx.Node] = {}
    output = copied.graph_copy(graph.graph, twins)
    with copied.inserting_after(twins[graph.input]):
        images = copied.call_method("size", (twins[graph.input], 0))
    found = {}
    for name, node in wanted.items():
        with copied.inserting_after(twins[node]):
            arguments = (twins[node], graph.is_kind(node, LINEAR), images)
            found[name] = copied.call_function(as_maps, arguments)
        if node in graph.overwritten:
            with copied.inserting_after(found[name]):
                found[name] = copied.call_method("clone", (found[name],))
    copied.output((output, found))
    return fx.GraphModule(graph.network, copied)
