"""What repeats a run: `config.yaml` and `provenance.json` in its folder."""

import functools
import os
import platform
import shlex
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf

from zf_lightning import __version__
from zf_lightning.config.instantiate import plain
from zf_lightning.errors import UserError
from zf_lightning.system.files import write_whole
from zf_lightning.system.sealed import read_json, write_json

if TYPE_CHECKING:
    from zf_lightning.data import ImageSource

ROOT = Path(__file__).parents[2]
#: What the numbers of a run may depend on.
PACKAGES = (
    *("torch", "torchvision", "lightning", "torchmetrics", "numpy", "scipy", "scikit-learn"),
    *("Pillow", "safetensors", "hydra-core", "omegaconf", "litdata"),
)


def record_run(config: DictConfig, folder: str | Path, source: "ImageSource | None" = None) -> None:
    """Write `config.yaml`, resolved, and `provenance.json`.

    The latter has the command, versions, the revision of the checkout and what was changed in it,
    the seed, the machine, and a fingerprint of the images of `source`: of their names, labels and
    sizes, or of the checksums of their shards.
    """
    write_whole(Path(folder) / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(plain(config))))
    write_json(
        Path(folder) / "provenance.json",
        {
            "command": _command(Path(folder)),
            "seed": config.seed,
            **code_and_versions(),
            "platform": platform.platform(),
            "threads": torch.get_num_threads(),
            "gpus": [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())],
            "data": None if source is None else _fingerprint(source),
        },
    )


def code_and_versions() -> dict[str, Any]:
    """Versions of this package and of those that numbers depend on, and the git revision."""
    return {
        "zf_lightning": __version__,
        **_revision(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _command(folder: Path) -> str | None:
    """The command of the command line, to be typed in a shell; None where there was none."""
    try:
        stored = read_json(folder / "command.json")
    except (OSError, UserError):
        return None
    return shlex.join(["python", "main.py", *stored["flags"], *stored["overrides"]])


@functools.cache
def _revision() -> dict[str, Any]:
    """Of git, and the files that differ from it; None outside of a checkout.

    Once a process: what it runs is what it has imported.
    """
    if not (ROOT / ".git").exists():
        return {"revision": None, "changed": None}
    try:
        revision, changed = (_git("rev-parse", "HEAD"), _git("status", "--porcelain"))
    except (OSError, subprocess.SubprocessError):
        return {"revision": None, "changed": None}
    return {"revision": revision.strip(), "changed": changed.splitlines()}


def _git(*arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "GIT_DIR"}
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
        env=environment,
    )
    return done.stdout


@functools.cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _fingerprint(source: "ImageSource") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for split in ("train", "val", "test"):
        files = source.split(split)
        found[split] = {"images": len(files), "digest": files.content_key()}
    return found
