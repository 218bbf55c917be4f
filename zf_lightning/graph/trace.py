"""From a module to a graph of operations, by torch.fx."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import fx, nn

from zf_lightning.errors import UserError
from zf_lightning.graph.inplace import InPlaceProxy
from zf_lightning.graph.inside import Untraced
from zf_lightning.graph.operations import Hooks, operation_class
from zf_lightning.models.evaluation import evaluation_mode
from zf_lightning.system.compat import hooks_of, uncompiled


def trace(network: nn.Module, whole_modules: Collection[type[nn.Module]]) -> fx.Graph:
    """The graph of a network in evaluation mode; modules of PyTorch and `whole_modules` stay whole.

    A network whose own forward pass cannot be traced is a single operation.
    """
    try:
        # Dropout and batch normalisation read their mode while the network is traced.
        with evaluation_mode(network):
            return _Tracer(whole_modules).trace(network)
    except UserError:
        raise
    except Exception:
        graph = fx.Graph()
        images = graph.placeholder("images")
        graph.output(graph.call_function(Untraced(network), (images,)))
        return graph
    finally:
        _forget_proxies(network)


def _forget_proxies(network: nn.Module) -> None:
    """Take out what modules have stored of the traced pass, as in a cache of attention biases."""
    for module in network.modules():
        for name, value in [*vars(module).items()]:
            if isinstance(value, fx.Proxy):
                delattr(module, name)
            elif isinstance(value, dict):
                for key in [key for key, part in value.items() if isinstance(part, fx.Proxy)]:
                    del value[key]


def construction(network: nn.Module) -> int:
    """A digest of what tracing depends on, to be traced again when it has changed."""
    return hash(
        tuple(
            (
                name,
                type(module),
                vars(module).get("forward"),
                # A module that stays whole calls its own.
                () if is_of_torch(module) else hooks_of(module, before=True),
                () if is_of_torch(module) else hooks_of(module, before=False),
            )
            for name, module in network.named_modules()
        )
    )


class _Tracer(fx.Tracer):
    """Hooks of modules that do not stay whole become operations of the graph.

    fx would call a container's hooks while it traces, and never those of the network itself.
    """

    def __init__(self, whole_modules: Collection[type[nn.Module]]) -> None:
        super().__init__()
        self._whole_modules = whole_modules

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        known = operation_class(self._whole_modules, m) is not None or is_of_torch(m)
        return known or super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return InPlaceProxy(node, self)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        if (inner := uncompiled(m)) is not m:
            return inner(*args, **kwargs)
        if self.is_leaf_module(m, self.path_of_module(m)):
            return super().call_module(m, forward, args, kwargs)
        last = next(iter(reversed(self.graph.nodes)))
        try:
            return self._call_hooked(m, m.forward, args, kwargs)
        except UserError:
            raise
        except Exception:
            # A module that cannot be traced, as one that branches on sizes, stays whole. Nothing
            # but what it began is in use: what its parts left is taken back.
            while (node := next(iter(reversed(self.graph.nodes)))) is not last:
                self.graph.erase_node(node)
            return self.create_proxy("call_module", self.path_of_module(m), args, kwargs)

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> Any:
        """Arguments but the image keep their defaults, on which the way may depend."""
        forward, args = super().create_args_for_root(root_fn, is_module, concrete_args)
        for place, argument in enumerate(args):
            if isinstance(argument, fx.Proxy) and argument.node.args:
                args[place] = argument.node.args[0]
                self.graph.erase_node(argument.node)

        def hooked(root: nn.Module, *inputs: Any) -> Any:
            replaced = vars(root).get("forward")
            run = replaced or (lambda *values: forward(root, *values))
            return self._call_hooked(root, run, inputs, {})

        return hooked, args

    def _call_hooked(
        self, module: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]
    ) -> Any:
        name = self.path_of_module(module) if module is not self.root else "the network"
        before, after = (Hooks(module, name, before=before) for before in (True, False))
        given = [value for value in args if isinstance(value, fx.Proxy)]
        if (before.hooks or after.hooks) and (len(given) != 1 or kwargs):
            raise UserError(f"The hooks of {name} cannot be followed: it takes several inputs.")
        if before.hooks:
            hooked = self.create_proxy("call_function", before, (given[0],), {})
            args = tuple(hooked if value is given[0] else value for value in args)
            given = [hooked]
        output = forward(*args, **kwargs)
        if not after.hooks:
            return output
        if not isinstance(output, fx.Proxy):
            raise UserError(f"The hooks of {name} cannot be followed: it returns several tensors.")
        return self.create_proxy("call_function", after, (output, given[0]), {})


def is_of_torch(module: nn.Module) -> bool:
    """Whether a module is of a class of PyTorch's, or of a subclass that does the same."""
    for kind in type(module).__mro__:
        if kind in (nn.Module, nn.Sequential):
            break
        if kind.__module__.startswith("torch.nn.modules"):
            return operation_class({kind}, module) is not None
    return False
