"""Weights of a network from a file of the user's."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from zf_lightning.errors import UserError

#: Modules that some networks have beside their own output while they are trained.
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
#: DenseNet's parameters are called `denselayer1.norm.1.weight` in its published files.
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, or of a state dict that `torch.save` wrote.

    Of the latter only tensors are read, never code. A `state_dict` inside a dictionary is found,
    and the prefix `module.` of wrapped networks left out.
    Raises UserError if the file is something else.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"model.weights={path} does not exist.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:
        # What is not a file of weights may fail in any way at all.
        reason = str(problem).strip().split("\n")[0]
        raise UserError(f"model.weights={path} cannot be read as weights ({reason}).") from problem
    for key in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise UserError(f"model.weights={path} holds no state dict of tensors.")
    return {str(name).removeprefix("module."): value for name, value in found.items()}


def outputs_of(weights: Mapping[str, Tensor], network: nn.Module) -> int | None:
    """Number of classes that weights were trained for; None if they are of another network.

    Args:
        network: of the same kind, with any number of classes: its last layer is looked up.
    """
    name = f"{_last_layer(network.state_dict())}.weight"
    return len(weights[name]) if name in weights and weights[name].dim() else None


def load_weights(
    network: nn.Module, weights: Mapping[str, Tensor], *, path: Path | str, last_may_differ: bool
) -> list[str]:
    """Put weights into a network; what its auxiliary outputs had is left out.

    Args:
        path: where they come from, for messages.
        last_may_differ: keep the network's own last layer where that of the weights has another
            number of classes.

    Returns the names of what was kept.
    Raises UserError if names or shapes do not agree.
    """
    own = network.state_dict()
    given = {
        name if name in own else OLD_DENSENET.sub(r"\1\2", name): value
        for name, value in weights.items()
        if name in own or not name.startswith(AUXILIARY)
    }
    # Older files do not have this counter, which evaluation never reads.
    missing = [n for n in own if n not in given and not n.endswith("num_batches_tracked")]
    unknown = [name for name in given if name not in own]
    if missing or unknown:
        words = [
            f"{what} {_few(names)}"
            for what, names in (("lacks", missing), ("has, unlike the network,", unknown))
            if names
        ]
        raise UserError(f"model.weights={path} is of another network: it {' and '.join(words)}.")
    differing = [name for name, value in given.items() if value.shape != own[name].shape]
    last = {name for name in differing if name.rpartition(".")[0] == _last_layer(own)}
    if set(differing) != last or (differing and not last_may_differ):
        name = next(name for name in differing if name not in last or not last_may_differ)
        raise UserError(
            f"model.weights={path} is of another network: {name} is {list(given[name].shape)} "
            f"there and {list(own[name].shape)} here."
        )
    network.load_state_dict({n: v for n, v in given.items() if n not in last}, strict=False)
    return sorted(last)


def _last_layer(weights: Mapping[str, Tensor]) -> str:
    matrices = [name for name, value in weights.items() if value.dim() > 1]
    return matrices[-1].rpartition(".")[0] if matrices else ""


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
