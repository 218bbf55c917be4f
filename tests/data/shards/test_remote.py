"""Shards in a bucket: an S3 service on this machine."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import torch
from moto.server import ThreadedMotoServer

from tests.data.shards.conftest import OpenShards, prepare
from zf_lightning.data import FolderSource, ImageDataModule, ShardSource
from zf_lightning.data.shards import remote
from zf_lightning.errors import UserError

pytestmark = [
    # boto3 and moto's own.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadedMotoServer]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def endpoint(server: ThreadedMotoServer) -> str:
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


class Chunks:
    """Keeps what is asked of the server for chunks, and can refuse them all."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.fails = False
        #: Names of the chunks, each time that one is fetched; and of all requests for them.
        self.fetched: list[str] = []
        self.asked = 0

    def __call__(self, environment: dict[str, Any], start: Any) -> Any:
        path = environment["PATH_INFO"]
        if "/chunk-" in path:
            self.asked += 1
            assert "HTTP_RANGE" not in environment
            if environment["REQUEST_METHOD"] == "GET":
                self.fetched.append(path.rpartition("/")[2])
            if self.fails:
                start("503 Service Unavailable", [("Content-Length", "0")])
                return [b""]
        return self.answer(environment, start)


@pytest.fixture
def chunks(server: ThreadedMotoServer, bucket: "Bucket", monkeypatch: pytest.MonkeyPatch) -> Chunks:
    assert server._server is not None
    recording = Chunks(server._server.app)
    monkeypatch.setattr(server._server, "app", recording)
    return recording


class Bucket:
    def __init__(self, endpoint: str, folder: Path, name: str) -> None:
        self.endpoint = endpoint
        self.name = name
        self.client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        self.client.create_bucket(Bucket=name)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.client.upload_file(str(path), name, f"sets/{path.relative_to(folder)}")

    @property
    def url(self) -> str:
        return f"s3://{self.name}/sets"


@pytest.fixture(scope="module")
def small_chunks(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve chunks of four training images."""
    out = tmp_path_factory.mktemp("shards") / "small"
    prepare(FolderSource(image_folder), out, "jpeg", chunk_images=4)
    return out


@pytest.fixture
def bucket(
    endpoint: str,
    small_chunks: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Bucket:
    """A bucket of the test's own with a copy of the shards."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[:60].strip("-")
    return Bucket(endpoint, small_chunks, name)


@pytest.fixture
def open_bucket(bucket: Bucket, open_shards: OpenShards) -> OpenShards:
    def opened(**options: object) -> ShardSource:
        return open_shards(bucket.url, storage_options={"endpoint_url": bucket.endpoint}, **options)

    return opened


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bucket_is_read_as_a_folder(
    open_bucket: OpenShards, image_folder: Path, workers: int
) -> None:
    source = open_bucket()
    files = FolderSource(image_folder).split("train")
    data = ImageDataModule(source, batch_size=5, workers=workers)
    seen = {}
    for batch in data.train_dataloader():
        for image, index in zip(batch.images, batch.indices.tolist(), strict=True):
            seen[index] = image
    assert sorted(seen) == list(range(48))
    assert source.split("train").names == files.names
    assert (seen[5].float() - files[5][0].float()).abs().mean() < 2.0
    assert source.split("train").known_statistics is not None


def bytes_in(cache: Path) -> int:
    """The chunks' bytes; other threads may take one away meanwhile."""
    total = 0
    for file in cache.glob("*.bin"):
        with contextlib.suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


def test_the_cache_is_bounded_and_left_chunks_go(open_bucket: OpenShards, tmp_path: Path) -> None:
    probe = open_bucket().split("train")
    sizes = sorted(chunk.bytes for chunk in probe.store.chunks)
    budget = 7 * sizes[-1] + 1000
    source = open_bucket(shuffle_window=1, cache_gb=budget / 1e9)
    data = ImageDataModule(source, batch_size=4, workers=0)
    cache = source.split("train").store.cache
    most = 0
    for _ in range(2):
        seen = []
        for batch in data.train_dataloader():
            seen += batch.indices.tolist()
            most = max(most, bytes_in(cache))
        assert sorted(seen) == list(range(48))
    assert most <= budget < sum(sizes)
    with pytest.raises(UserError, match=r"data\.cache_gb=.* is too small"):
        open_bucket(shuffle_window=3, cache_gb=sizes[0] / 1e9).prepare()


def test_chunks_are_fetched_before_they_are_needed(open_bucket: OpenShards) -> None:
    train = open_bucket(shuffle_window=1).split("train")
    train.expect(torch.arange(48).numpy())
    assert train.store._threads is not None
    train.store._threads.shutdown(wait=True)
    assert len(list(train.store.cache.glob("*.bin"))) >= 4


def test_the_training_error_reads_whole_chunks_once_in_order(
    chunks: Chunks, open_bucket: OpenShards
) -> None:
    source = open_bucket()
    train = source.split("train")
    data = ImageDataModule(source, batch_size=5, workers=2)
    indices = [i for b in data.evaluation_loader("train", at_most=30) for i in b.indices.tolist()]
    places = [train.place(index) for index in indices]
    assert places == sorted(places) and len(set(places)) == 30
    # Transfers of two threads and two workers overtake one another.
    numbers = [int(name.removesuffix(".bin").rpartition("-")[2]) for name in chunks.fetched]
    assert sorted(numbers) == list(range(8))
    assert all(abs(place - number) <= 4 for place, number in enumerate(numbers))


def test_a_bucket_that_fails_for_good_is_a_sentence(
    chunks: Chunks, open_bucket: OpenShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_ATTEMPTS", 1)
    remote._downloader.cache_clear()
    data = ImageDataModule(open_bucket(), batch_size=5, workers=2)
    chunks.fails = True
    with pytest.raises(UserError) as failure:
        next(iter(data.train_dataloader()))
    assert re.fullmatch(
        r"s3://\S+/chunk-\S+\.bin cannot be fetched \([^\n]*Service Unavailable\)\.",
        failure.value.sentence,
    )
    assert chunks.asked < 40


def read_first(source: ShardSource) -> torch.Tensor:
    """The first image of the validation's first chunk."""
    val = source.split("val")
    return val[int(val.evaluation_order()[0])][0]


def test_a_damaged_object_is_named(bucket: Bucket, open_bucket: OpenShards) -> None:
    key = "sets/val/chunk-0-0.bin"
    body = bytearray(bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read())
    body[500] ^= 1
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=bytes(body))
    with pytest.raises(UserError, match=rf"{bucket.url}/val/chunk-0-0\.bin is damaged"):
        read_first(open_bucket())
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=bytes(body[:-9]))
    with pytest.raises(UserError, match=rf"{bucket.url}/val/chunk-0-0\.bin is .* bytes long"):
        read_first(open_bucket())
    bucket.client.delete_object(Bucket=bucket.name, Key=key)
    with pytest.raises(UserError, match=rf"{bucket.url}/val/chunk-0-0\.bin cannot be fetched"):
        read_first(open_bucket())


def test_new_shards_at_the_same_place_are_noticed(
    bucket: Bucket, open_bucket: OpenShards, raw_shards: Path
) -> None:
    before = open_bucket().split("val")[0][0]
    for path in sorted(raw_shards.rglob("*")):
        if path.is_file():
            bucket.client.upload_file(
                str(path), bucket.name, f"sets/{path.relative_to(raw_shards)}"
            )
    after = open_bucket().split("val")[0][0]
    assert not torch.equal(before, after)


def test_a_place_without_shards(bucket: Bucket, open_shards: OpenShards) -> None:
    options = {"endpoint_url": bucket.endpoint}
    with pytest.raises(UserError, match=r"nowhere/dataset\.json cannot be fetched"):
        open_shards(f"s3://{bucket.name}/nowhere", storage_options=options).prepare()


def test_the_cache_works_again_after_an_interrupted_fetch(
    open_bucket: OpenShards,
) -> None:
    source = open_bucket()
    store = source.split("val").store
    store.cache.mkdir(parents=True, exist_ok=True)
    (store.cache / "chunk-0-0.arriving").write_bytes(b"half")
    source.split("val")[0]
    shutil.rmtree(store.cache)
    (store.cache).mkdir()
    source.split("test")[0]
