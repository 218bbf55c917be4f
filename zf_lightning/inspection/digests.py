"""Digests of what an atlas was made of, so that a change of it is named afterwards."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from zf_lightning.errors import DamagedFile
from zf_lightning.system.digests import digest_of
from zf_lightning.system.sealed import read_json, write_json
from zf_lightning.training.module import ImageClassifier
from zf_lightning.training.provenance import code_and_versions

NAME = "digests.json"


def write_digests(folder: Path, classifier: ImageClassifier, content: str) -> None:
    """Write the digests of a network, tensor by tensor, and of its data (`content_key`).

    Beside them stand the code and the versions that the atlas is made with.
    """
    digests = {"data": content, "weights": digests_of_weights(classifier)}
    write_json(folder / NAME, digests | {"code": code_and_versions()})


def read_digests(folder: Path) -> Mapping[str, Any] | None:
    """What `write_digests` wrote; None where it is missing or damaged."""
    try:
        return read_json(folder / NAME)
    except (FileNotFoundError, DamagedFile):
        return None


def digests_of_weights(classifier: ImageClassifier) -> dict[str, str]:
    """Of each parameter and buffer of the network and its preprocessing, by name."""
    modules = {"network": classifier.network, "preprocessing": classifier.preprocessing}
    return {
        f"{part}.{name}": digest_of(
            [value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()]
        )
        for part, module in modules.items()
        for name, value in sorted(module.state_dict().items())
    }


def other_code(recorded: Mapping[str, Any]) -> list[str]:
    """Versions and revision that an atlas was made with and that are others now."""
    made, now = (_flat(code) for code in (recorded.get("code", {}), code_and_versions()))
    others = {name: one for name, one in made.items() if one != now.get(name)}
    return [f"{name} {one}, now {now.get(name)}" for name, one in others.items()]


def _flat(code: Mapping[str, Any]) -> dict[str, Any]:
    lists = ("packages", "changed")
    return {name: one for name, one in code.items() if name not in lists} | code.get("packages", {})


def changed_weights(recorded: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of tensors that are others, or that only one of the two has."""
    return sorted(
        name for name in recorded.keys() | now.keys() if recorded.get(name) != now.get(name)
    )
