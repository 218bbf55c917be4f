"""Copies and pickles of every source, before and after it is read."""

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

from tests.conftest import write_images
from tests.data.voc_files import voc
from zf_lightning import data
from zf_lightning.data import SPLITS, ImageSource
from zf_lightning.data.shards.prepare import prepare_shards


def folders(root: Path) -> Path:
    for split in ("train", "val"):
        for hue, name in enumerate(("red", "green")):
            write_images(root / split / name, 3, hue=hue)
    return root


def fold(root: Path) -> ImageSource:
    names = ["train/red/000.png", "train/green/001.png", "val/red/002.png"]
    stored = {"files": names, "folds": {"1": [{"train": [0, 1], "test": [2]}]}}
    (root / "folds.json").write_text(json.dumps(stored))
    return data.FoldSource(
        data.FolderSource(folders(root)), folds=root / "folds.json", per_class="1", fold=0
    )


def shards(root: Path) -> ImageSource:
    out = root / "shards"
    images = data.FolderSource(folders(root / "images"))
    prepare_shards(images, out, format="raw", quality=90, chunk_images=4, workers=0, progress=False)
    return data.ShardSource(str(out), cache=root / "cache", cache_gb=1, shuffle_window=2)


def voc_source(root: Path) -> ImageSource:
    voc(root)
    sets = {"train": "train", "val": "val", "test": "test"}
    return data.VocSource(root, year=2012, image_sets=sets)  # type: ignore[arg-type]


SOURCES: dict[type, Callable[[Path], ImageSource]] = {
    data.EmbeddedSource: lambda root: data.EmbeddedSource(
        root / "drawn", images={"train": 10, "val": 10, "test": 10}
    ),
    data.FolderSource: lambda root: data.FolderSource(folders(root)),
    data.FoldSource: fold,
    data.ImageNetSource: lambda root: data.ImageNetSource(folders(root)),
    data.ShardSource: shards,
    data.SourceWithout: lambda root: data.SourceWithout(
        data.FolderSource(folders(root)), ["val/red/001.png"]
    ),
    data.TorchvisionFolders: lambda root: data.TorchvisionFolders(
        folders(root), dataset="imagenette"
    ),
    data.UnlabelledImages: lambda root: data.UnlabelledImages(folders(root)),
    data.VocSource: voc_source,
}


def test_every_source_is_tested() -> None:
    classes = {each for each in vars(data).values() if isinstance(each, type)}
    assert {each for each in classes if hasattr(each, "split")} - {ImageSource} == set(SOURCES)


@pytest.mark.parametrize("read", [False, True], ids=["new", "read"])
@pytest.mark.parametrize("kind", SOURCES, ids=lambda kind: kind.__name__)
def test_a_copy_is_the_same(kind: type, read: bool, tmp_path: Path) -> None:
    source = SOURCES[kind](tmp_path)
    if read:
        source.prepare()
    copies = [copy.copy(source), copy.deepcopy(source), pickle.loads(pickle.dumps(source))]
    for copied in copies:
        assert copied.class_names == source.class_names
        for split in SPLITS:
            ours, theirs = source.split(split), copied.split(split)
            assert list(ours.names) == list(theirs.names)
            assert numpy.array_equal(ours.labels, theirs.labels)
            assert ours.content_key() == theirs.content_key()
        same = [source.split("test") is source.split(split) for split in ("train", "val")]
        assert same == [copied.split("test") is copied.split(split) for split in ("train", "val")]


def test_an_attribute_that_the_source_lacks_is_named(tmp_path: Path) -> None:
    source = data.SourceWithout(data.FolderSource(folders(tmp_path)), [])
    assert source.root == tmp_path
    with pytest.raises(AttributeError, match="nowhere"):
        _ = source.nowhere
