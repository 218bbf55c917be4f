"""A network as a graph of operations: its layers, their names, and what each depends on.

The module is traced once with torch.fx. How an operation is run is the business of whoever walks
the graph; the module's mode, hooks, buffers and gradients stay as they are.
"""

from collections.abc import Callable, Collection, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.parallel import DistributedDataParallel

from zf_lightning.errors import UserError
from zf_lightning.graph.inplace import without_mutation
from zf_lightning.graph.inside import LayerInside, LayersInside, Untraced, names_inside
from zf_lightning.graph.operations import (
    BATCH_NORMS,
    CONVOLUTIONS,
    LAYERS,
    LINEAR,
    RECTIFIERS,
    Hooks,
    Kind,
    evaluate,
    find_ancestors,
    find_dependent,
    is_operation,
)
from zf_lightning.graph.trace import construction, is_of_torch, trace
from zf_lightning.models.contrast_normalisation import LocalResponseNorm
from zf_lightning.system.compat import uncompiled

#: The arguments of `conv2d`, in order.
CONVOLUTION_OPTIONS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
#: A node to be run, whether it depends on the image, and the nodes that are not needed after it.
Step = tuple[fx.Node, bool, list[fx.Node]]


class Graph:
    """A traced network.

    Args:
        network: takes one batch of images `[N, C, H, W]`.
        whole_modules: classes of modules that are one operation, besides those of PyTorch.

    Raises:
        UserError: the network cannot be traced, or takes more than one input.
    """

    def __init__(
        self, network: nn.Module, *, whole_modules: Collection[type[nn.Module]] = ()
    ) -> None:
        # torch.compile and DataParallel wrap a module; what is inside is what is meant.
        while True:
            inner = uncompiled(network)
            if isinstance(inner, nn.DataParallel | DistributedDataParallel):
                inner = inner.module
            if inner is network:
                break
            network = inner
        self.network = network
        if isinstance(network, torch.jit.ScriptModule):
            raise UserError(
                "The network is compiled by torch.jit: hand in the module that it was made of."
            )
        self.construction = construction(network)
        self.graph = trace(self.network, {LocalResponseNorm, *whole_modules})
        inputs = [node for node in self.graph.nodes if node.op == "placeholder" and not node.args]
        if len(inputs) != 1:
            raise UserError(f"The network takes {len(inputs)} inputs; a deconvnet needs one.")
        self.input: fx.Node = inputs[0]
        carriers = find_dependent(self.graph, self.input)
        #: The nodes whose output a later operation may change in place.
        self.overwritten = without_mutation(self.network, self.graph, carriers)
        #: The nodes whose values depend on the image.
        self.dependent = find_dependent(self.graph, self.input)
        self._known_steps: dict[frozenset[fx.Node], list[Step]] = {}
        #: For each module that could not be traced the node that finds layers inside it.
        self._inside: dict[fx.Node, fx.Node] = {}

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the convolutions and fully connected layers, from the input on."""
        return tuple(
            name
            for node in self.graph.nodes
            if node in self.dependent
            for name in ([self._name(node)] if self.is_layer(node) else self._layers_inside(node))
        )

    def _layers_inside(self, node: fx.Node) -> list[str]:
        """Names of the layers inside a module that could not be traced."""
        if (module := self._untraced(node)) is None or len(self.calls(node)) > 1:
            return []
        name = "" if isinstance(node.target, Untraced) else str(node.target)
        return [*names_inside(module, name, is_of_torch)]

    def _untraced(self, node: fx.Node) -> nn.Module | None:
        if isinstance(node.target, Untraced):
            return node.target.module
        if node.op != "call_module":
            return None
        module = self.network.get_submodule(str(node.target))
        return None if is_of_torch(module) or self.is_layer(node) else module

    def _node_inside(self, layer: str) -> fx.Node | None:
        """The node of a layer inside a module that could not be traced, made when asked for."""
        for node in [*self.graph.nodes]:
            if node not in self.dependent or layer not in self._layers_inside(node):
                continue
            if node not in self._inside:
                name = "" if isinstance(node.target, Untraced) else str(node.target)
                module = self._untraced(node)
                assert module is not None
                with self.graph.inserting_after(node):
                    self._inside[node] = self.graph.call_function(
                        LayersInside(module, name), node.args, node.kwargs
                    )
            outputs = self._inside[node]
            outputs.target.wanted.add(layer)  # type: ignore[union-attr]
            with self.graph.inserting_after(outputs):
                found = self.graph.call_function(LayerInside(layer), (outputs,))
            self.dependent |= {outputs, found}
            self._known_steps.clear()
            return found
        return None

    @property
    def weights(self) -> Tensor:
        """The first floating-point weights: their type and device are those of images."""
        # A frozen network may have its weights as buffers.
        every = chain(self.network.parameters(), self.network.buffers())
        floating = (weights for weights in every if weights.is_floating_point())
        return next(floating, torch.empty(0))

    @property
    def input_channels(self) -> int:
        """Number of channels of an image: what the first convolution takes, or else 3."""
        for node in self.graph.nodes:
            if node not in self.dependent:
                continue
            if self.is_kind(node, CONVOLUTIONS) and node.op == "call_function":
                bound = dict(zip(CONVOLUTION_OPTIONS, node.args, strict=False)) | node.kwargs
                weight = bound["weight"]
                shape = self.walk(torch.empty(0), [weight], evaluate)[weight].shape  # type: ignore
                return int(shape[1] * bound.get("groups", 1))
            module = self._untraced(node)
            if node.op == "call_module":
                module = self.network.get_submodule(str(node.target))
            for inner in module.modules() if module is not None else ():
                if isinstance(inner, nn.Conv2d):
                    return inner.in_channels
        return 3

    def is_convolution(self, layer: str) -> bool:
        """Whether a layer of `layers` is a convolution."""

        def convolves(node: fx.Node) -> bool:
            if node.op == "call_module":
                return isinstance(self.network.get_submodule(str(node.target)), nn.Conv2d)
            return self.is_kind(node, CONVOLUTIONS)

        return any(
            convolves(node)
            if self._name(node) == layer
            else layer in self._layers_inside(node)
            and isinstance(self.network.get_submodule(layer), nn.Conv2d)
            for node in self.graph.nodes
        )

    def is_layer(self, node: fx.Node) -> bool:
        """Whether a node is an operation with weights, also one that torch.fx cannot look into."""
        if node.op == "call_module":
            return isinstance(self.network.get_submodule(str(node.target)), nn.Conv2d | nn.Linear)
        return self.is_kind(node, LAYERS)

    def is_kind(self, node: fx.Node, kinds: Kind) -> bool:
        """Whether a node is an operation of one of these kinds."""
        return is_operation(self.network, node, kinds)

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
            if node.op == "call_module" and node.target == layer and node in self.dependent
        ] or [
            node
            for node in self.graph.nodes
            if node in self.dependent - {self.input} and layer in (node.name, self._name(node))
        ]
        if not found and (inside := self._node_inside(layer)):
            found = [inside]
        if not found:
            raise UserError(
                f"The network has no layer {layer}; it has {', '.join(self.layers) or 'none'}."
            )
        if len(found) > 1:
            names = ", ".join(self._name(node) for node in found)
            raise UserError(f"The module {layer} is used {len(found)} times: name one of {names}.")
        node = found[0]
        if self.is_layer(node):
            for followers in (BATCH_NORMS, RECTIFIERS):
                users = [user for user in node.users if node in self.sources(user)]
                if len(users) == 1 and self.is_kind(users[0], followers):
                    node = users[0]
        return node

    def as_maps(self, node: fx.Node, value: Any, images: int) -> Any:
        """The value of a node as `[N, C, H, W]` or `[N, C]`: see `as_maps`."""
        while self.is_kind(node, RECTIFIERS) and len(node.all_input_nodes) == 1:
            node = node.all_input_nodes[0]
        linear = self.is_kind(node, LINEAR)
        if isinstance(node.target, LayerInside):
            linear = isinstance(self.network.get_submodule(node.target.layer), nn.Linear)
        return as_maps(value, linear, images)

    def nodes(self, layers: Collection[str]) -> dict[str, fx.Node]:
        """The node of each layer; raises UserError for one that does not exist."""
        return {layer: self.node(layer) for layer in layers}

    def walk(
        self,
        images: Tensor,
        targets: Collection[fx.Node],
        run: Callable[[fx.Node, Mapping[fx.Node, Any]], Any],
    ) -> dict[fx.Node, Any]:
        """Go up from `images` to `targets`, and return their values.

        `run` runs each operation on what depends on the image; a value is dropped after its last
        use.
        """
        values: dict[fx.Node, Any] = {}
        for node, is_dependent, done in self._steps(targets):
            if node is self.input:
                values[node] = images
            elif is_dependent:
                values[node] = run(node, values)
            else:
                value = evaluate(self.network, node, values)
                values[node] = value.detach() if isinstance(value, Tensor) else value
            for source in done:
                del values[source]
        return {node: values[node] for node in targets}

    def _steps(self, targets: Collection[fx.Node]) -> list[Step]:
        """The nodes to be run for `targets`; found once, for every batch of crops asks again."""
        key = frozenset(targets)
        if key not in self._known_steps:
            needed = self.below(targets)
            last_use = {source: node for node in needed for source in node.all_input_nodes}
            self._known_steps[key] = [
                (
                    node,
                    node in self.dependent,
                    [s for s in node.all_input_nodes if last_use[s] is node and s not in key],
                )
                for node in needed
            ]
        return self._known_steps[key]

    def below(self, targets: Collection[fx.Node]) -> list[fx.Node]:
        """The targets and all that they depend on, in the order of the network."""
        needed = find_ancestors(targets)
        return [node for node in self.graph.nodes if node in needed]

    def sources(self, node: fx.Node) -> tuple[fx.Node, ...]:
        """The nodes, dependent on the image, that an operation takes, as often as it does."""
        found: list[fx.Node] = []
        # What a module was given is only shown to its hooks.
        shown = node.args[:1] if isinstance(node.target, Hooks) else node.args
        fx.map_arg((shown, node.kwargs), found.append)
        return tuple(source for source in found if source in self.dependent)

    def askers_for_sizes(self, target: fx.Node) -> dict[fx.Node, set[fx.Node]]:
        """The operations up to a node that are told sizes of what was computed from the image.

        For each the nodes whose sizes they are.
        """
        asked: dict[fx.Node, set[fx.Node]] = {}
        found = {}
        for node in self.below([target]):
            of = [asked.get(source, set()) for source in node.all_input_nodes]
            sizes = set().union(*of)
            if node in self.dependent:
                if sizes:
                    found[node] = sizes
                continue
            asked[node] = sizes | {one for one in node.all_input_nodes if one in self.dependent}
        return found

    def _name(self, node: fx.Node) -> str:
        """What the user calls the layer of this node."""
        if isinstance(node.target, LayerInside):
            return node.target.layer
        if node.op != "call_module":
            return node.name
        if len(self.calls(node)) == 1:
            return str(node.target)
        # The first use may be called like a module, by which none of the uses is meant.
        modules = {other.target for other in self.graph.nodes if other.op == "call_module"}
        return f"{node.name}_0" if node.name in modules else node.name

    def calls(self, node: fx.Node) -> list[fx.Node]:
        """All uses of a node's module, in order."""
        return [n for n in self.graph.nodes if (n.op, n.target) == (node.op, node.target)]


def as_maps(value: Any, channels_last: bool, images: int) -> Any:
    """Feature maps `[N, C, H, W]` of what has its channels last, as a linear layer gives them.

    Of `[N, L, C]` each of the L positions is a row. The windows that each image is cut into, one
    image after the other, `[N · k, C, h, w]`, stand below each other. All else stays as it is.
    """
    if not isinstance(value, Tensor) or value.dim() not in (3, 4):
        return value
    if value.dim() == 3:
        value = value.movedim(-1, 1).unsqueeze(-1)
    elif channels_last:
        value = value.movedim(-1, 1)
    if len(value) == images or len(value) % images:
        return value
    return value.unflatten(0, (images, -1)).movedim(1, 2).flatten(2, 3)
