"""A network as a graph of operations that can be run and reversed one by one.

The module is traced once with torch.fx. Going up, each operation is run by its rule, which also
keeps what the way down needs; the module itself is never run, so its mode, hooks, buffers and
gradients stay as they are. Going down, the graph is walked in reverse order and contributions that
meet at a value add, as where a connection was skipped.
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from zf_lightning.deconv.inplace import overwritten, without_mutation
from zf_lightning.deconv.nodes import (
    evaluate,
    fill_in,
    find_ancestors,
    find_carriers,
    is_operation,
    kind_of,
    operation_key,
)
from zf_lightning.deconv.recording import Recording, Step
from zf_lightning.deconv.reversal import Mode
from zf_lightning.deconv.rules import (
    BATCH_NORMS,
    CONVOLUTIONS,
    LAYERS,
    RECTIFIERS,
    RULES,
    Operation,
    Rule,
)
from zf_lightning.deconv.tracing import traced
from zf_lightning.deconv.watched import Watched, watching
from zf_lightning.errors import UserError
from zf_lightning.models.evaluation import evaluation_mode


class Graph:
    """A traced network and the rules that reverse it.

    Args:
        network: takes one batch of images `[N, C, H, W]`.
        rules: rules of the user's own, which go before the built-in ones.

    Raises:
        UserError: the network cannot be traced, or takes more than one input.
    """

    def __init__(self, network: nn.Module, *, rules: Mapping[Operation, Rule] | None = None):
        # torch.compile wraps a module; what is inside is what is meant.
        self.network: nn.Module = getattr(network, "_orig_mod", network)
        self.rules: Mapping[Operation, Rule] = {**RULES, **(rules or {})}
        self.graph = traced(self.network, self.rules)
        inputs = [node for node in self.graph.nodes if node.op == "placeholder" and not node.args]
        if len(inputs) != 1:
            raise UserError(f"The network takes {len(inputs)} inputs; a deconvnet needs one.")
        self.input: fx.Node = inputs[0]
        without_mutation(self.network, self.graph, find_carriers(self.graph, self.input))
        self._carriers = find_carriers(self.graph, self.input)
        self._overwritten = overwritten(self.network, self.graph)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the convolutions and fully connected layers, from the input on."""
        return tuple(
            self._name(node)
            for node in self.graph.nodes
            if self._is(node, LAYERS) and node in self._carriers
        )

    def is_convolution(self, layer: str) -> bool:
        """Whether a layer of `layers` is a convolution."""
        return any(
            self._is(node, CONVOLUTIONS) and self._name(node) == layer for node in self.graph.nodes
        )

    def is_rectifier(self, node: fx.Node) -> bool:
        """Whether a node is a ReLU, in whichever form."""
        return self._is(node, RECTIFIERS)

    def is_overwritten(self, node: fx.Node) -> bool:
        """Whether a later operation may change the output of a node in place."""
        return node in self._overwritten

    def node(self, layer: str) -> fx.Node:
        """The node whose output is meant by `layer`: a module's name, or a node's in the graph.

        A convolution or a fully connected layer means what leaves the batch normalisation, the
        ReLU, or both in this order, that directly follow it. Where a sum comes before the ReLU,
        as behind the last convolution of a residual block, it ends before the sum.
        Raises UserError if there is none, or if a module of that name is used more than once.
        """
        found = [
            node
            for node in self.graph.nodes
            if node.op == "call_module" and node.target == layer and node in self._carriers
        ] or [
            node
            for node in self.graph.nodes
            if node in self._carriers and layer in (node.name, self._name(node))
        ]
        if not found:
            raise UserError(
                f"The network has no layer {layer}; it has {', '.join(self.layers) or 'none'}."
            )
        if len(found) > 1:
            names = ", ".join(self._name(node) for node in found)
            raise UserError(f"The module {layer} is used {len(found)} times: name one of {names}.")
        node = found[0]
        if self._is(node, LAYERS):
            for followers in (BATCH_NORMS, RECTIFIERS):
                users = list(node.users)
                if len(users) == 1 and self._is(users[0], followers):
                    node = users[0]
        return node

    def record(self, images: Tensor, layers: Collection[str], mode: Mode) -> Recording:
        """Run `images` `[N, C, H, W]` up to the highest of `layers`.

        Raises UserError for a layer that does not exist, and for an operation below one of the
        layers that has no rule, which it names.
        """
        nodes = {layer: self.node(layer) for layer in layers}
        return self.walk(
            images, nodes, mode, lambda node, values: self.run_rule(node, values, mode)
        )

    def walk(
        self,
        images: Tensor,
        nodes: Mapping[str, fx.Node],
        mode: Mode,
        run: Callable[[fx.Node, Mapping[fx.Node, Any]], tuple[Tensor, Step]],
    ) -> Recording:
        """Go up from `images` to `nodes`, with `run` for every operation on what the image gave.

        Raises UserError for an operation on the way that has no rule.
        """
        needed = self._below(nodes.values())
        values: dict[fx.Node, Any] = {}
        steps: dict[fx.Node, Step] = {}
        last_use = {source: node for node in needed for source in node.all_input_nodes}
        for node in needed:
            if node is self.input:
                values[node] = images
            elif node in self._carriers:
                values[node], steps[node] = run(node, values)
            else:
                values[node] = evaluate(self.network, node, values)
            for source in node.all_input_nodes:
                if last_use[source] is node and source not in nodes.values():
                    del values[source]
        outputs = {layer: values[node] for layer, node in nodes.items()}
        input_size = (images.shape[2], images.shape[3])
        return Recording(mode, input_size, outputs, steps, dict(nodes))

    def with_feature_maps(
        self, images: Tensor, layers: Collection[str], *, only: bool = False
    ) -> tuple[Any, dict[str, Tensor]]:
        """The network's output for images `[N, 3, H, W]`, and the outputs of `layers`.

        With `only`, what the layers do not depend on is not run, and the output is None.

        The network itself is run, in the evaluation mode in which it was traced and without
        gradients, and needs no rules. Raises UserError for a layer that does not exist.
        """
        nodes = {layer: self.node(layer) for layer in layers}
        needed = find_ancestors(nodes.values()) if only else None
        watched = Watched(self.network, self.graph, nodes.values(), needed, self._overwritten)
        with torch.no_grad(), evaluation_mode(self.network):
            output = watched.run(images)
        return output, {layer: watched.found[node] for layer, node in nodes.items()}

    def watching(self, layers: Collection[str]) -> fx.GraphModule:
        """`with_feature_maps` as a module to be compiled: see `zf_lightning.deconv.watched`.

        Unlike that, it leaves mode and gradients to its caller.
        """
        nodes = {layer: self.node(layer) for layer in layers}
        return watching(self.network, self.graph, nodes, self._overwritten)

    def reverse(self, recording: Recording, layer: str, signal: Tensor, images: Tensor) -> Tensor:
        """Send a signal from the output of `layer` down to the pixels: `[U, C, H, W]`.

        Args:
            signal: `[U, C, H, W]` or `[U, C]`, one row a unit.
            images: `[U]` int64, the position in the recorded batch of each unit's image.
        """
        waiting = {recording.nodes[layer]: signal}
        for node in reversed(recording.steps):
            if node not in waiting:
                continue
            step = recording.steps[node]
            parts = step.reversal.reverse(waiting.pop(node), images)
            if len(parts) != len(step.sources):
                raise UserError(
                    f"{self._describe(node)}: its rule has a signal for {len(parts)} inputs, but "
                    f"{len(step.sources)} come from the image."
                )
            for source, part in zip(step.sources, parts, strict=True):
                waiting[source] = waiting[source] + part if source in waiting else part
        return waiting[self.input]

    def run_rule(
        self, node: fx.Node, values: Mapping[fx.Node, Any], mode: Mode
    ) -> tuple[Tensor, Step]:
        """Run one operation by its rule, given the values of the nodes that it takes."""
        rule = self._rule(node)
        assert rule is not None
        arguments, options = fill_in(node, values)
        if node.op == "call_module":
            arguments = (self.network.get_submodule(str(node.target)), *arguments)
        try:
            inspect.signature(rule).bind(mode, *arguments, **options)
        except TypeError as problem:
            raise UserError(f"{self._describe(node)}: {problem}, says its rule.") from problem
        try:
            output, reversal = rule(mode, *arguments, **options)
        except UserError as problem:
            raise UserError(f"{self._describe(node)}: {problem}") from problem
        return output, Step(self.sources(node), reversal, tuple(output.shape[1:]))

    def sources(self, node: fx.Node) -> tuple[fx.Node, ...]:
        """The nodes, computed from the image, that an operation takes, as often as it does."""
        found: list[fx.Node] = []
        fx.map_arg((node.args, node.kwargs), lambda source: found.append(source))
        return tuple(source for source in found if source in self._carriers)

    @property
    def weights(self) -> Tensor:
        """The first floating-point weights: their type and device are those of images."""
        parameters = self.network.parameters()
        floating = (weights for weights in parameters if weights.is_floating_point())
        return next(floating, torch.empty(0))

    def asks_for_sizes(self, target: fx.Node) -> bool:
        """Whether anything up to a node depends on the size of what was computed from the image."""
        return any(
            node not in self._carriers
            and any(source in self._carriers for source in node.all_input_nodes)
            for node in self._below([target])
        )

    def _below(self, targets: Collection[fx.Node]) -> list[fx.Node]:
        """The targets and all that they depend on, in the order of the network."""
        needed = find_ancestors(targets)
        ordered = [node for node in self.graph.nodes if node in needed]
        lacking = [
            node
            for node in ordered
            if node in self._carriers and node is not self.input and self._rule(node) is None
        ]
        if lacking:
            first, *others = dict.fromkeys(kind_of(self.network, node) for node in lacking)
            also = f" Nor have: {', '.join(others)}." if others else ""
            raise UserError(
                f"{self._describe(lacking[0])} has no rule, so that nothing above it can be "
                f"projected: write one, as zf_lightning/deconv/rules.py says, and hand it in as "
                f"Deconvnet(network, rules={{{first.split()[-1]}: ...}}), or choose layers below "
                f"it.{also}"
            )
        return ordered

    def _is(self, node: fx.Node, kinds: Collection[Operation]) -> bool:
        return is_operation(self.network, node, kinds)

    def _rule(self, node: fx.Node) -> Rule | None:
        key = operation_key(self.network, node, self.rules)
        return None if key is None else self.rules[key]

    def _name(self, node: fx.Node) -> str:
        """What the user calls the layer of this node."""
        if node.op != "call_module":
            return node.name
        calls = [other for other in self.graph.nodes if other.target == node.target]
        if len(calls) == 1:
            return str(node.target)
        # The first use may be called like the module, by which none of the uses is meant.
        return f"{node.name}_0" if node.name == node.target else node.name

    def _describe(self, node: fx.Node) -> str:
        kind = kind_of(self.network, node)
        if node.op == "call_module":
            kind = f"module {node.target}, {kind.split()[-1]}"
        return f"Node {node.name} ({kind})"
