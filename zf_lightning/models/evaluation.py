"""Running a network in evaluation mode without leaving a trace in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from zf_lightning.errors import UserError


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, and afterwards each of its modules as it was."""
    in_training = [module for module in network.modules() if module.training]
    if in_training:
        try:
            network.eval()
        except NotImplementedError as problem:
            # As of `torch.export`.
            raise UserError(
                f"{type(network).__name__} cannot be put into evaluation mode ({problem}) Hand in "
                "the network that it was made of."
            ) from None
    try:
        yield
    finally:
        for module in in_training:
            module.training = True


def run_blank(network: nn.Module, *, input_size: int) -> Any:
    """What the network gives for one blank image `[1, 3, S, S]`."""
    weights = next(network.parameters(), torch.empty(0))
    blank = torch.zeros(1, 3, input_size, input_size, dtype=weights.dtype, device=weights.device)
    with torch.no_grad(), torch.random.fork_rng(devices=[]), evaluation_mode(network):
        return network(blank)
