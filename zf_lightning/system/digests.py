"""SHA-256 of what results depend on, in hexadecimal."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn


def digest_of(parts: Iterable[str | bytes]) -> str:
    """Of text (UTF-8) and bytes, one after the other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def digest_of_file(path: Path) -> str:
    """Of the contents of a file, which need not fit into memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_weights(*modules: nn.Module, also: str = "") -> str:
    """Of the names and values of all parameters and buffers, on whatever device, after `also`."""

    def parts() -> Iterable[str | bytes]:
        yield also
        for module in modules:
            for name, value in sorted(module.state_dict().items()):
                yield name
                # As bytes first: NumPy has no bfloat16.
                data = value.detach().cpu().contiguous().flatten().view(torch.uint8)
                yield data.numpy().tobytes()

    return digest_of(parts())
