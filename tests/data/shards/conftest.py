"""Shards of the small image folder, in both formats."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from zf_lightning.data import FolderSource, ShardSource
from zf_lightning.data.shards.prepare import Prepared, prepare_shards

OpenShards = Callable[..., ShardSource]


def prepare(source: FolderSource, out: Path, format: str = "raw", **options: Any) -> Prepared:
    """Shards of 7 images a chunk, written in this process unless `workers` says otherwise."""
    given: dict[str, Any] = {"quality": 95, "chunk_images": 7, "workers": 0} | options
    return prepare_shards(source, out, format=format, progress=False, **given)


@pytest.fixture(scope="session")
def raw_shards(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards") / "raw"
    prepare(FolderSource(image_folder), out)
    return out


@pytest.fixture(scope="session")
def jpeg_shards(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards") / "jpeg"
    prepare(FolderSource(image_folder), out, "jpeg")
    return out


@pytest.fixture
def open_shards(tmp_path: Path) -> OpenShards:
    """A source that reads shards, with a cache of its own."""

    def opened(root: Path | str, **options: object) -> ShardSource:
        given: dict[str, Any] = {
            "cache": tmp_path / "cache",
            "cache_gb": 1.0,
            "shuffle_window": 2,
        } | options
        return ShardSource(str(root), **given)  # type: ignore[arg-type]

    return opened


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, those with a date in them as their arrays."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = str(path.relative_to(folder))
            found[name] = path.read_bytes()
            if path.suffix == ".npz":
                with numpy.load(path) as arrays:
                    found[name] = b"".join(arrays[key].tobytes() for key in sorted(arrays))
    return found
