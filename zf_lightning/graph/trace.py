"""From a module to a graph of operations, by torch.fx."""

from collections.abc import Collection
from typing import Any

from torch import fx, nn

from zf_lightning.errors import UserError
from zf_lightning.graph.inplace import InPlaceProxy
from zf_lightning.graph.operations import operation_class
from zf_lightning.models.evaluation import evaluation_mode


def trace(network: nn.Module, whole_modules: Collection[type[nn.Module]]) -> fx.Graph:
    """The graph of a network in evaluation mode; modules of PyTorch and `whole_modules` stay whole.

    Raises UserError if it cannot be traced.
    """

    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            known = operation_class(whole_modules, m) is not None or _is_of_torch(m)
            return known or super().is_leaf_module(m, module_qualified_name)

        def call_module(
            self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Any:
            """A module that cannot be traced, as one that branches on sizes, stays whole."""
            last, depth = next(iter(reversed(self.graph.nodes))), len(self.module_stack)
            try:
                return super().call_module(m, forward, args, kwargs)
            except UserError:
                raise
            except Exception:
                # Nothing but what it began is in use: what its parts left is taken back.
                while (node := next(iter(reversed(self.graph.nodes)))) is not last:
                    self.graph.erase_node(node)
                while len(self.module_stack) > depth:
                    self.module_stack.popitem()
                return self.create_proxy("call_module", self.path_of_module(m), args, kwargs)

        def create_args_for_root(
            self, root_fn: Any, is_module: bool, concrete_args: Any = None
        ) -> tuple[Any, list[Any]]:
            """Arguments but the image keep their defaults, on which the way may depend."""
            function, arguments = super().create_args_for_root(root_fn, is_module, concrete_args)
            for place, argument in enumerate(arguments):
                if isinstance(argument, fx.Proxy) and argument.node.args:
                    arguments[place] = argument.node.args[0]
                    self.graph.erase_node(argument.node)
            return function, arguments

        def proxy(self, node: fx.Node) -> fx.Proxy:
            return InPlaceProxy(node, self)

    try:
        # Dropout and batch normalisation read their mode while the network is traced.
        with evaluation_mode(network):
            return Tracer().trace(network)
    except UserError:
        raise
    except Exception as problem:
        raise UserError(
            f"{type(network).__name__} cannot be traced to a graph ({problem}): its forward may "
            "neither depend on the values of its input nor make modules; hand in the part of it "
            "that does not."
        ) from problem


def _is_of_torch(module: nn.Module) -> bool:
    """Whether a module is of a class of PyTorch's, or of a subclass that does the same."""
    for kind in type(module).__mro__:
        if kind in (nn.Module, nn.Sequential):
            break
        if kind.__module__.startswith("torch.nn.modules"):
            return operation_class({kind}, module) is not None
    return False
