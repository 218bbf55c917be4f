"""A damaged dataset is an error that names the chunk, before any of its images is used."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.shards.conftest import OpenShards
from tests.system.damage import DAMAGES
from zf_lightning.data.shards import chunk_store
from zf_lightning.errors import UserError
from zf_lightning.system.sealed import read_json, write_json


@pytest.fixture
def shards(jpeg_shards: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(jpeg_shards, tmp_path / "shards"))


def change_index(shards: Path, change: Callable[[list[dict]], object]) -> None:
    path = shards / "train" / "index.json"
    content = read_json(path)
    change(content["chunks"])
    write_json(path, content)


def read_all(source: object) -> None:
    train = source.split("train")  # type: ignore[attr-defined]
    for index in range(len(train)):
        train[index]


def test_whole_shards_are_read(shards: Path, open_shards: OpenShards) -> None:
    read_all(open_shards(shards))


@pytest.mark.parametrize("place", [0, 6, 3000, -1])
def test_a_flipped_bit(shards: Path, open_shards: OpenShards, place: int) -> None:
    chunk = shards / "train" / "chunk-0-2.bin"
    data = bytearray(chunk.read_bytes())
    data[place] ^= 4
    chunk.write_bytes(data)
    with pytest.raises(UserError, match=r"train/chunk-0-2\.bin is damaged"):
        read_all(open_shards(shards))


def test_a_chunk_that_is_damaged_after_it_was_checked(
    shards: Path, open_shards: OpenShards
) -> None:
    read_all(open_shards(shards))
    chunk = shards / "train" / "chunk-0-2.bin"
    chunk.write_bytes(bytes(len(chunk.read_bytes())))
    with pytest.raises(UserError, match=r"chunk-0-2\.bin is damaged"):
        read_all(open_shards(shards))


def test_a_missing_chunk(shards: Path, open_shards: OpenShards) -> None:
    (shards / "train" / "chunk-0-4.bin").unlink()
    with pytest.raises(UserError, match=r"train/chunk-0-4\.bin is missing"):
        read_all(open_shards(shards))


@pytest.mark.parametrize("length", [0, 3, 100, -1])
def test_a_truncated_chunk(shards: Path, open_shards: OpenShards, length: int) -> None:
    chunk = shards / "train" / "chunk-0-4.bin"
    chunk.write_bytes(chunk.read_bytes()[:length])
    with pytest.raises(UserError, match=r"chunk-0-4\.bin is [\d,]+ bytes long.* cut short"):
        read_all(open_shards(shards))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda chunks: chunks[1].update(chunk_size=6), r"disagree about chunk-0-1\.bin"),
        (lambda chunks: chunks[1].update(chunk_bytes=7), r"chunk-0-1\.bin is .* bytes long"),
        (lambda chunks: chunks[1].update(sha256="0" * 64), r"disagree about chunk-0-1\.bin"),
        (lambda chunks: chunks[1].update(filename="chunk-9-9.bin"), r"chunk-9-9\.bin is missing"),
        (lambda chunks: chunks[1].update(filename="chunk-0-2.bin"), r"chunk-0-2\.bin is "),
        # File, size and checksum agree, but the samples of its place are others.
        (lambda chunks: chunks.insert(0, chunks.pop(1)), r"disagree about chunk-0-1\.bin"),
        (lambda chunks: chunks.pop(), r"disagree about chunk 6"),
        (
            lambda chunks: chunks.append(dict(chunks[0], filename="chunk-0-7.bin")),
            r"disagree about chunk-0-7\.bin",
        ),
        (lambda chunks: chunks.reverse(), r"disagree about chunk-0-6\.bin"),
        (lambda chunks: chunks[0].pop("sha256"), r"index\.json is not an index that"),
        (lambda chunks: chunks[0].update(filename="../a.bin"), r"which is outside"),
        (lambda chunks: chunks[0].update(filename="/tmp/a.bin"), r"which is outside"),
    ],
)
def test_an_index_that_disagrees(
    shards: Path, open_shards: OpenShards, change: Callable, message: str
) -> None:
    change_index(shards, change)
    with pytest.raises(UserError, match=message):
        read_all(open_shards(shards))


def test_records_that_are_missing_or_damaged(shards: Path, open_shards: OpenShards) -> None:
    (shards / "val" / "samples.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"val/samples\.npz is damaged"):
        open_shards(shards).prepare()
    (shards / "val" / "index.json").unlink()
    with pytest.raises(UserError, match=r"val/index\.json is missing"):
        open_shards(shards).prepare()
    (shards / "dataset.json").write_text("{}")
    with pytest.raises(UserError, match=r"dataset\.json is not what task=prepare writes"):
        open_shards(shards).prepare()
    (shards / "dataset.json").unlink()
    with pytest.raises(UserError, match="no finished shards"):
        open_shards(shards).prepare()


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name",
    ["dataset.json", "statistics.safetensors", "val/index.json", "val/samples.npz"],
)
def test_each_record_is_named(
    shards: Path, open_shards: OpenShards, name: str, damage: str
) -> None:
    DAMAGES[damage](shards / name)
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        open_shards(shards).prepare()


def test_shards_of_a_later_version(shards: Path, open_shards: OpenShards) -> None:
    write_json(shards / "dataset.json", read_json(shards / "dataset.json") | {"version": 2})
    with pytest.raises(UserError, match="version 2"):
        open_shards(shards).prepare()


def test_a_checksum_is_computed_once(
    shards: Path, open_shards: OpenShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    summed: list[str] = []
    digest_of_file = chunk_store.digest_of_file

    def counted(path: Path) -> str:
        summed.append(path.name)
        return digest_of_file(path)

    monkeypatch.setattr(chunk_store, "digest_of_file", counted)
    read_all(open_shards(shards))
    read_all(open_shards(shards))
    assert sorted(summed) == [f"chunk-0-{number}.bin" for number in range(7)]
