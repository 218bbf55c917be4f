"""Kinds of operations: names of functions and classes of modules, and nodes of a traced network."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import fx, nn

from zf_lightning.system.compat import hooks_of

#: A module's class, a function, or the name of a method of tensors.
Operation = type[nn.Module] | Callable[..., Any] | str
#: A kind of operation: names of functions (see `name_of`), and classes of modules.
Kind = frozenset[str | type[nn.Module]]

CONVOLUTIONS: Kind = frozenset({nn.Conv2d, "conv2d"})
LINEAR: Kind = frozenset({nn.Linear, "linear"})
#: What layers are: operations with weights.
LAYERS: Kind = CONVOLUTIONS | LINEAR
#: A layer that is directly followed by one of these means its output, ...
BATCH_NORMS: Kind = frozenset({nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm, "batch_norm"})
#: ... and if then one of these follows, the output of that.
RECTIFIERS: Kind = frozenset(
    {nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.LeakyReLU, "relu", "relu6", "hardtanh", "leaky_relu"}
)
#: Operations that return the very tensor they were given, in evaluation mode.
SAME_TENSOR: Kind = frozenset(
    {nn.Identity, nn.Dropout, nn.Dropout2d, "dropout", "dropout2d", "contiguous"}
)
#: Operations whose output may be their input's memory in another shape.
VIEWS: Kind = frozenset(
    {nn.Flatten, "flatten", "reshape", "view", "unsqueeze", "squeeze", "getitem"}
)
#: Questions about a tensor that have numbers for an answer.
QUERIES = frozenset({"size", "dim", "numel", "ndimension", "is_floating_point", "stride"})
PROPERTIES = frozenset({"shape", "ndim", "dtype", "device"})
#: What makes new values of the shape or the type of a tensor, whatever its own are.
NEW_TENSORS = frozenset(
    {
        *("new_zeros", "new_ones", "new_full", "new_empty", "new_tensor"),
        *("zeros_like", "ones_like", "full_like", "empty_like"),
    }
)
#: Names of the operators that work in place, and what they are otherwise.
IN_PLACE = {"iadd": "add", "imul": "mul", "isub": "sub", "itruediv": "truediv"}


class Hooks:
    """The hooks of a module that does not stay whole, as an operation of the graph.

    Args:
        module: whose hooks they are.
        name: of the module, for the node and for messages.
        before: those that are called before its forward pass, instead of after it.
    """

    def __init__(self, module: nn.Module, name: str, *, before: bool) -> None:
        self.module, self.before = module, before
        self.__name__ = re.sub(r"\W", "_", f"hooks_of_{name}")

    @property
    def hooks(self) -> tuple[tuple[Callable[..., Any], bool], ...]:
        """The hooks as they are now, and whether each takes keyword arguments."""
        return hooks_of(self.module, before=self.before)

    def __call__(self, value: Any, *inputs: Any) -> Any:
        """What they make of the module's input, or of its output, which `inputs` follow."""
        for hook, with_keywords in self.hooks:
            keywords: tuple[Any, ...] = ({},) if with_keywords else ()
            given = (value,) if self.before else inputs
            changed = hook(self.module, given, *keywords, *(() if self.before else (value,)))
            if self.before and with_keywords and changed is not None:
                changed, _ = changed
            if changed is not None:
                value = changed[0] if self.before and isinstance(changed, tuple) else changed
        return value


def name_of(function: Any) -> str:
    """The name of a function or a method, the same for all forms: `relu` of `F.relu_`."""
    name = function if isinstance(function, str) else getattr(function, "__name__", "")
    name = name.strip("_")
    return IN_PLACE.get(name, name)


def is_torch(function: Any) -> bool:
    """Whether a function is of PyTorch or of the `operator` module."""
    module = getattr(function, "__module__", None) or ""
    owner = getattr(function, "__objclass__", None)
    return module.split(".")[0] in ("torch", "_operator") or (
        owner is not None and owner.__module__.split(".")[0] == "torch"
    )


def operation_class(classes: Collection[Any], module: nn.Module) -> Any:
    """The class among `classes` whose forward pass a module has; None if there is none."""
    for kind in type(module).__mro__:
        if kind in classes and issubclass(kind, nn.Module):
            # A subclass that computes something else is another operation.
            same = type(module).forward is kind.forward and "forward" not in vars(module)
            return kind if same else None
    return None


def is_operation(network: nn.Module, node: fx.Node, kinds: Kind) -> bool:
    """Whether a node of a network's graph is an operation of one of these kinds."""
    if node.op == "call_module":
        return operation_class(kinds, network.get_submodule(str(node.target))) is not None
    if node.op == "call_function":
        return is_torch(node.target) and name_of(node.target) in kinds
    return node.op == "call_method" and name_of(node.target) in kinds


def is_query(node: fx.Node) -> bool:
    """Whether a node asks for the shape or the type of a tensor, not for its values."""
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] in PROPERTIES
    if node.op == "call_function":
        return is_torch(node.target) and name_of(node.target) in NEW_TENSORS
    return node.op == "call_method" and node.target in QUERIES | NEW_TENSORS


def find_dependent(graph: fx.Graph, start: fx.Node) -> set[fx.Node]:
    """The nodes whose values are computed from those of `start`, other than its shape."""
    dependent = {start}
    for node in graph.nodes:
        if not is_query(node) and any(source in dependent for source in node.all_input_nodes):
            dependent.add(node)
    return dependent


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


def kind_of(network: nn.Module, node: fx.Node) -> str:
    """What a node does: `module GELU`, `method 'permute'`, `function layer_norm`."""
    if node.op == "call_module":
        return f"module {type(network.get_submodule(str(node.target))).__name__}"
    if node.op == "call_method":
        return f"method '{node.target}'"
    return f"function {getattr(node.target, '__name__', node.target)}"


def describe(network: nn.Module, node: fx.Node) -> str:
    """A node for a message: `Node sigmoid (function sigmoid)`."""
    kind = kind_of(network, node)
    if node.op == "call_module":
        kind = f"module {node.target}, {kind.split()[-1]}"
    return f"Node {node.name} ({kind})"


def fill_in(node: fx.Node, values: Mapping[fx.Node, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a node, positional and by name, given the values of those it takes."""
    return (
        fx.map_arg(node.args, values.__getitem__),
        fx.map_arg(node.kwargs, values.__getitem__),
    )


def evaluate(network: nn.Module, node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
    """The value of a node that does not depend on the image: a weight, a shape, a number."""
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
