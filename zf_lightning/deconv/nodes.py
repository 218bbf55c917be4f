"""What a node of a traced network is, and what it gives where it carries no signal."""

from collections.abc import Collection, Mapping
from typing import Any

from torch import fx, nn

from zf_lightning.deconv.rules import Operation, rule_key

#: Questions about a tensor that have numbers for an answer.
QUERIES = frozenset({"size", "dim", "numel", "ndimension"})
PROPERTIES = frozenset({"shape", "ndim", "dtype", "device"})


def is_query(node: fx.Node) -> bool:
    """Whether a node asks for the shape or the kind of a tensor, not for its values."""
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] in PROPERTIES
    return node.op == "call_method" and node.target in QUERIES


def find_carriers(graph: fx.Graph, start: fx.Node) -> set[fx.Node]:
    """Nodes whose values are computed from those of `start`, other than its shape."""
    carriers = {start}
    for node in graph.nodes:
        if not is_query(node) and any(source in carriers for source in node.all_input_nodes):
            carriers.add(node)
    return carriers


def find_ancestors(
    targets: Collection[fx.Node], *, within: Collection[fx.Node] | None = None
) -> set[fx.Node]:
    """The targets and all that they depend on; `within`: by ways through these nodes alone."""
    needed: set[fx.Node] = set()
    waiting = list(targets)
    while waiting:
        node = waiting.pop()
        if node not in needed and (within is None or node in within):
            needed.add(node)
            waiting.extend(node.all_input_nodes)
    return needed


def operation_key(
    network: nn.Module, node: fx.Node, table: Mapping[Operation, Any]
) -> Operation | None:
    """The key of a table of operations that a node of a network's graph falls under."""
    if node.op == "call_module":
        return rule_key(table, network.get_submodule(str(node.target)))
    if node.op in ("call_function", "call_method"):
        return node.target if node.target in table else None
    return None


def is_operation(network: nn.Module, node: fx.Node, kinds: Collection[Operation]) -> bool:
    """Whether a node of a network's graph is an operation of one of these kinds."""
    return operation_key(network, node, dict.fromkeys(kinds)) is not None


def kind_of(network: nn.Module, node: fx.Node) -> str:
    """What a node does: `module GELU`, `method 'permute'`, `function layer_norm`."""
    if node.op == "call_module":
        return f"module {type(network.get_submodule(str(node.target))).__name__}"
    if node.op == "call_method":
        return f"method '{node.target}'"
    return f"function {getattr(node.target, '__name__', node.target)}"


def fill_in(node: fx.Node, values: Mapping[fx.Node, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a node, positional and by name, given the values of those it takes."""
    return (
        fx.map_arg(node.args, values.__getitem__),
        fx.map_arg(node.kwargs, values.__getitem__),
    )


def evaluate(network: nn.Module, node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
    """The value of a node that carries no signal: a weight, a shape, arithmetic with them."""
    arguments, options = fill_in(node, values)
    if node.op == "placeholder":
        return node.args[0]
    if node.op == "get_attr":
        value: Any = network
        for name in str(node.target).split("."):
            value = getattr(value, name)
        return value
    if node.op == "call_module":
        return network.get_submodule(str(node.target))(*arguments, **options)
    if node.op == "call_method":
        return getattr(arguments[0], str(node.target))(*arguments[1:], **options)
    assert callable(node.target)
    return node.target(*arguments, **options)
