"""Layers inside modules that torch.fx cannot trace: they are found while the module runs."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

from torch import Tensor, nn

from zf_lightning.errors import UserError


class Untraced:
    """A network that cannot be traced, as one operation of its graph."""

    __name__ = "network"

    def __init__(self, network: nn.Module) -> None:
        self.module = network

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)


class Outputs(dict[str, Tensor]):
    """The outputs of layers by name, and what kept the module from going on."""

    problem: UserError | None = None


class LayersInside:
    """The outputs of some layers inside a module: as an operation, it takes what the module takes.

    Args:
        module: is run up to the last of the layers.
        name: of the module in its network.
    """

    def __init__(self, module: nn.Module, name: str) -> None:
        self.module, self.name = module, name
        self.__name__ = "layers_inside"
        #: Names in the network; grows as layers are asked for.
        self.wanted: set[str] = set()

    def __call__(self, *args: Any, **kwargs: Any) -> Outputs:
        found = Outputs()

        def hook_of(layer: str) -> Any:
            def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
                if layer not in found:
                    found[layer] = output.clone()
                if found.keys() == self.wanted:
                    raise _Enough

            return keep

        with ExitStack() as hooks:
            for layer in self.wanted:
                module = self.module.get_submodule(layer.removeprefix(f"{self.name}."))
                hooks.callback(module.register_forward_hook(hook_of(layer)).remove)
            hooks.enter_context(suppress(_Enough))
            try:
                self.module(*args, **kwargs)
            except UserError as problem:
                # It is above some of the layers, perhaps above all that are wanted now.
                found.problem = problem
        return found


class LayerInside:
    """One of the layers that `LayersInside` found, as an operation; of several uses the first."""

    def __init__(self, layer: str) -> None:
        self.layer, self.__name__ = layer, layer.replace(".", "_")

    def __call__(self, found: Outputs) -> Tensor:
        if self.layer in found:
            return found[self.layer]
        raise found.problem or UserError(f"{self.layer} is never called with values of the image.")


class _Enough(Exception):
    """All layers that are wanted have been called."""


def names_inside(
    module: nn.Module, name: str, is_whole: Callable[[nn.Module], bool]
) -> Iterator[str]:
    """Names in the network of the layers inside its module `name`, not of parts that stay whole."""
    for child_name, child in module.named_children():
        path = f"{name}.{child_name}" if name else child_name
        if isinstance(child, nn.Conv2d | nn.Linear):
            yield path
        elif not is_whole(child):
            yield from names_inside(child, path, is_whole)
