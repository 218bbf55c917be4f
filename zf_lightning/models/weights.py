"""Weights of a network from a file of the user's, as people save them."""

import pickle
import re
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from zf_lightning.errors import DamagedFile, UserError, reason_of
from zf_lightning.system.sealed import check_archive

#: Entries of a training's file that hold the weights; the first that is there counts, and may hold
#: another of them.
STATE_DICTS = (
    *("state_dict", "model_state_dict", "model_state", "model", "network", "net", "module"),
    *("weights", "params", "ema_state_dict", "state_dict_ema", "model_ema", "ema"),
)
#: Modules that some networks have beside their own output while they are trained.
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
#: DenseNet's parameters are called `denselayer1.norm.1.weight` in its published files.
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, or of a state dict that `torch.save` wrote.

    Of the latter only tensors are read, never code: what else a training saved beside them, as its
    options, is skipped. A state dict inside dictionaries is found under its usual names.
    Raises UserError if the file is something else.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"model.weights={path} does not exist.")
    try:
        found = load_file(path) if path.suffix == ".safetensors" else _load_tensors(path)
    except DamagedFile:
        raise
    except Exception as problem:
        # What is not a file of weights may fail in any way at all.
        reason = unpickling_problem(problem) or reason_of(problem)
        raise UserError(f"model.weights={path} cannot be read as weights ({reason}).") from problem
    if isinstance(found, _Skipped):
        raise UserError(
            f"model.weights={path} is a whole object with its code, which is never run: save its "
            "tensors, as torch.save(network.state_dict(), FILE)."
        )
    entries = found
    while isinstance(found, Mapping):
        inner = (found[key] for key in STATE_DICTS if isinstance(found.get(key), Mapping))
        deeper = next(inner, None)
        if deeper is None:
            break
        found = deeper
    tensors = found.items() if isinstance(found, Mapping) else ()
    weights = {str(name): value for name, value in tensors if isinstance(value, Tensor)}
    if not weights:
        what = ", ".join(map(str, entries)) if isinstance(entries, Mapping) else ""
        raise UserError(
            f"model.weights={path} holds no state dict of tensors"
            f"{f'; it has {what}' if what else ''}."
        )
    return weights


class _Skipped:
    """Stands for an object in a file, whatever its class is: nothing of it is kept."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _load_tensors(path: Path) -> Any:
    """What `torch.save` wrote, its tensors and containers; all else is a `_Skipped`."""
    if zipfile.is_zipfile(path):
        # Those of very old versions of torch have no checksums.
        check_archive(path)
    try:
        others = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except ValueError:
        others = []  # The format before PyTorch 1.6 does not tell.
    with torch.serialization.safe_globals([(_Skipped, name) for name in others]):
        return torch.load(path, map_location="cpu", weights_only=True)


def unpickling_problem(problem: Exception) -> str | None:
    """Why torch refused to unpickle a file, without its advice to run the code that is in it.

    None for other problems.
    """
    if not isinstance(problem, pickle.UnpicklingError):
        return None
    names = re.findall(r"GLOBAL ([\w.]+)", str(problem))
    if not names:
        return "it is not a file of tensors"
    return (
        f"it holds more than tensors and plain data, {names[0]}, and reading that could run code; "
        "let whoever made it write the tensors alone: "
        "safetensors.torch.save_file(network.state_dict(), 'weights.safetensors')"
    )


def classes_of(weights: Mapping[str, Tensor], network: nn.Module, *, classes: int) -> int:
    """Number of classes that weights were trained for, as far as their shapes tell.

    Args:
        network: of the same kind, with `classes` classes.
    """
    own = network.state_dict()
    given = _own_names(weights, own)
    numbers = {len(given[name]) for name in _last_layer(given, own, classes)}
    return numbers.pop() if len(numbers) == 1 else classes


def load_weights(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    path: Path | str,
    classes: int | None = None,
) -> list[str]:
    """Put weights into a network; what its auxiliary outputs had is left out.

    Prefixes of what the network was wrapped in (`module.`, `model.`, …) are left out,
    and so are a wrapper's own tensors.

    Args:
        path: where they come from, for messages.
        classes: number of the network's; where that of the weights is another, the network's own
            last layer is kept. None: that is refused.

    Returns the names of what was kept.
    Raises UserError if names or shapes do not agree, or values are no weights.
    """
    own = network.state_dict()
    given = _own_names(weights, own)
    # Older files do not have this counter, which evaluation never reads.
    missing = [n for n in own if n not in given and not n.endswith("num_batches_tracked")]
    unknown = [name for name in given if name not in own]
    kept = [] if classes is None else _last_layer(given, own, classes)
    differing = [
        f"{name} is {list(value.shape)} there and {list(own[name].shape)} here"
        for name, value in given.items()
        if name in own and name not in kept and value.shape != own[name].shape
    ]
    words = [
        f"{what} {_few(names, separator)}"
        for what, names, separator in (
            ("it lacks", missing, ", "),
            ("it has, unlike the network,", unknown, ", "),
            ("of other shapes:", differing, "; "),
        )
        if names
    ]
    if words:
        raise UserError(f"model.weights={path} is of another network: {'; '.join(words)}.")
    for name, value in given.items():
        if own[name].is_floating_point() and not value.is_floating_point():
            raise UserError(f"model.weights={path}: {name} is {value.dtype}, not floating point.")
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise UserError(f"model.weights={path}: {name} has values that are NaN or infinite.")
    network.load_state_dict({n: v for n, v in given.items() if n not in kept}, strict=False)
    return sorted(kept)


def _own_names(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the network's names: without the prefix that most of its names have in the file.

    The prefix need not be known: whatever a network was wrapped in, `model.network.conv1.weight`
    ends with the name of one of its tensors.
    """
    renamed = {
        name if name in own else OLD_DENSENET.sub(r"\1\2", name): value
        for name, value in weights.items()
    }
    found = Counter(
        name[:end]
        for name in renamed
        for end in (0, *(dot.end() for dot in re.finditer(r"\.", name)))
        if name[end:] in own
    )
    # Of prefixes with the same number of names, as of the average of a network, the first counts.
    prefix = found.most_common(1)[0][0] if found else ""
    return {
        name[len(prefix) :]: value
        for name, value in renamed.items()
        if name.startswith(prefix)
        and (name[len(prefix) :] in own or not name[len(prefix) :].startswith(AUXILIARY))
    }


def _last_layer(given: Mapping[str, Tensor], own: Mapping[str, Tensor], classes: int) -> list[str]:
    """The tensors with a row for each class in `own`, of which `given` has another number."""
    return [
        name
        for name, value in given.items()
        if name in own
        and own[name].shape[:1] == (classes,) != value.shape[:1]
        and value.shape[1:] == own[name].shape[1:]
        and value.dim() == own[name].dim() > 0
    ]


def _few(names: list[str], separator: str) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return separator.join(names[:3]) + more
