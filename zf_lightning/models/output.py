"""The logits among what a network puts out."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from zf_lightning.errors import UserError


def giving_logits(network: nn.Module, name: str | int | None = None) -> nn.Module:
    """The same network, whose forward pass now gives its logits `[N, classes]` alone.

    Its class becomes a subclass of the one that it had: names of layers and weights stay.

    Args:
        network: gives a tensor, or a tuple, list, dictionary, named tuple or dataclass of tensors.
        name: which of them, by name or number; None: the first.
    """

    if isinstance(network, torch.jit.ScriptModule):
        return network

    class GivingLogits(type(network)):  # type: ignore[misc]
        # What traces the network asks for its arguments.
        @functools.wraps(type(network).forward)
        def forward(self, *args: Any, **kwargs: Any) -> Tensor:
            return find_logits(super().forward(*args, **kwargs), name)

    GivingLogits.__name__ = type(network).__name__
    GivingLogits.__qualname__ = type(network).__qualname__
    network.__class__ = GivingLogits
    return network


def find_logits(output: Any, name: str | int | None = None) -> Tensor:
    """The tensor among a network's outputs that is called `name`, or the first.

    Raises UserError if there is none.
    """
    if isinstance(output, Tensor | fx.Proxy):
        return output  # type: ignore[return-value]
    parts = _parts(output)
    found = next(_tensors(output), None) if name is None else parts.get(str(name))
    if name is not None and found is None and str(name).lstrip("-").isdigit():
        found = dict(enumerate(parts.values())).get(int(name))
    if not isinstance(found, Tensor | fx.Proxy):
        what = "no tensor" if name is None else f"no tensor model.logits={name}"
        names = ", ".join(parts) or type(output).__name__
        raise UserError(f"The network's output has {what} (it has {names}).")
    return found  # type: ignore[return-value]


def _parts(output: Any) -> dict[str, Any]:
    """What an output consists of, by name, or by number from 0 on."""
    if isinstance(output, Mapping):
        return {str(key): value for key, value in output.items()}
    if isinstance(output, tuple | list):
        names = getattr(output, "_fields", range(len(output)))
        return {str(key): value for key, value in zip(names, output, strict=True)}
    if dataclasses.is_dataclass(output):
        return {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    return {}


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor | fx.Proxy):
        yield output  # type: ignore[misc]
    for part in _parts(output).values():
        yield from _tensors(part)
