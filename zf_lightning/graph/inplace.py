"""In-place operations written as what they mean: a new value, which later readers see."""

import operator
from collections.abc import Collection
from typing import Any

from torch import fx, nn

from zf_lightning.errors import UserError
from zf_lightning.graph.operations import IN_PLACE, SAME_TENSOR, VIEWS, is_operation, is_torch


class InPlaceProxy(fx.Proxy):
    """A proxy that tells `x += y` from `x = x + y`; fx writes both as the second.

    After the first, what else is called x has changed as well.
    """

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self._changed(operator.iadd, other)

    def __imul__(self, other: Any) -> fx.Proxy:
        return self._changed(operator.imul, other)

    def __isub__(self, other: Any) -> fx.Proxy:
        return self._changed(operator.isub, other)

    def __itruediv__(self, other: Any) -> fx.Proxy:
        return self._changed(operator.itruediv, other)

    def _changed(self, operation: Any, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operation, (self, other), {})


#: What `x += y` is where x is a number or a weight: a new value.
NEW_VALUES = {
    operator.iadd: operator.add,
    operator.imul: operator.mul,
    operator.isub: operator.sub,
    operator.itruediv: operator.truediv,
}


def without_mutation(
    network: nn.Module, graph: fx.Graph, carriers: Collection[fx.Node]
) -> set[fx.Node]:
    """Let what reads a tensor after an in-place operation read the operation's output.

    With `y = relu_(x); return x + y` both summands are the rectified tensor; in the traced graph
    the first still looks like the unrectified one.

    Args:
        network: what was traced.
        graph: is changed.
        carriers: the nodes whose values come from the image. Others are numbers, which nothing
            changes in place, or weights, which are only read.

    Returns:
        The nodes whose output a later operation may change when the graph is run as it is, by
        itself or through another shape of the same memory.

    Raises UserError where the tensor is read again through another shape of itself.
    """
    order = {node: place for place, node in enumerate(graph.nodes)}
    #: For each node, the nodes up to now that share its memory; those that are the same tensor
    #: have the same origin.
    sharing: dict[fx.Node, list[fx.Node]] = {}
    origin: dict[fx.Node, fx.Node] = {}
    overwritten: set[fx.Node] = set()
    for node in graph.nodes:
        source = node.all_input_nodes[0] if node.all_input_nodes else node
        changes = source in carriers and mutates(network, node)
        if source not in carriers and node.target in NEW_VALUES:
            node.target = NEW_VALUES[node.target]
        same_tensor = changes or is_operation(network, node, SAME_TENSOR)
        shares = source is not node and (same_tensor or _may_share(network, node))
        sharing[node] = sharing[source] if shares else []
        if changes:
            overwritten.update(sharing[node])
        sharing[node].append(node)
        origin[node] = origin[source] if shares and same_tensor else node
        if not changes:
            continue
        for other in sharing[node]:
            later = [user for user in other.users if order[user] > order[node]]
            if later and origin[other] is not origin[node]:
                raise UserError(
                    f"Node {node.name} changes in place a tensor that {later[0].name} reads again "
                    f"in another shape, as {other.name}: use the operation that is not in place."
                )
            if other is not node:
                for user in later:
                    user.replace_input_with(other, node)
    return overwritten


def _may_share(network: nn.Module, node: fx.Node) -> bool:
    # What hooks and functions that are not PyTorch's give may be what they were given.
    foreign = node.op == "call_function" and not is_torch(node.target)
    return foreign or is_operation(network, node, VIEWS)


def mutates(network: nn.Module, node: fx.Node) -> bool:
    """Whether a node writes its result into its first input."""
    if is_operation(network, node, SAME_TENSOR):
        return False  # Dropout in place: it was traced in evaluation mode, where it writes nothing.
    if node.op == "call_module":
        return getattr(network.get_submodule(str(node.target)), "inplace", False) is True
    if node.op == "call_method":
        name = str(node.target)
    elif node.op == "call_function":
        name = getattr(node.target, "__name__", "")
        if getattr(node.target, "__module__", "") == "_operator":
            return name in IN_PLACE
    else:
        return False
    return (name.endswith("_") and not name.endswith("__")) or bool(node.kwargs.get("inplace"))
