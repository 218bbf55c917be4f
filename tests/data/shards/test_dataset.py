"""Reading shards in batches: each sample once, in orders that a resumed run can skip in."""

import pickle
from pathlib import Path
from typing import Any, cast

import numpy
import pytest

from tests.data.shards.conftest import OpenShards
from zf_lightning.data import FolderSource, ImageDataModule, cached_statistics
from zf_lightning.data.sampler import EpochSampler
from zf_lightning.data.sources.base import StoredInOrder
from zf_lightning.errors import UserError


def indices_of(data: ImageDataModule, split: str, *, epoch: int = 0) -> list[int]:
    loader = getattr(data, f"{split}_dataloader")()
    loader.sampler.set_epoch(epoch)
    return [int(index) for batch in loader for index in batch.indices]


@pytest.mark.parametrize("workers", [0, 2])
def test_each_sample_comes_once_an_epoch(
    raw_shards: Path, open_shards: OpenShards, workers: int
) -> None:
    data = ImageDataModule(open_shards(raw_shards), batch_size=5, workers=workers)
    orders = [indices_of(data, "train", epoch=epoch) for epoch in (0, 1, 0)]
    assert all(sorted(order) == list(range(48)) for order in orders)
    assert orders[0] == orders[2] != orders[1]
    assert indices_of(data, "val") == indices_of(data, "val", epoch=3)
    assert sorted(indices_of(data, "val")) == list(range(6))


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_the_global_batches(
    raw_shards: Path, open_shards: OpenShards, processes: int
) -> None:
    train = open_shards(raw_shards).split("train")
    assert isinstance(train, StoredInOrder)

    def dealt(rank: int, processes: int) -> list[int]:
        sampler = EpochSampler(
            len(train),
            batch_size=6,
            rank=rank,
            processes=processes,
            shuffle=True,
            seed=3,
            stored=train,
        )
        return [key.index for key in sampler if key.weight > 0]

    alone = dealt(0, 1)
    each = 6 // processes
    shares = [dealt(rank, processes) for rank in range(processes)]
    for number in range(len(alone) // 6):
        together = {i for share in shares for i in share[number * each : (number + 1) * each]}
        assert together == set(alone[number * 6 : (number + 1) * 6])


def test_part_of_a_split_is_whole_chunks_one_after_the_other(
    raw_shards: Path, open_shards: OpenShards
) -> None:
    # Of other samples than the shards were made of, so that no order of theirs fits by chance.
    files = open_shards(raw_shards).split("train").subset(range(1, 48))
    expected: list[list[int]] = []

    class Source:
        def split(self, name: str) -> Any:
            return files

    data = ImageDataModule(cast(Any, Source()), batch_size=4, workers=0)
    files.expect = lambda coming: expected.append(coming.tolist())  # type: ignore[method-assign]
    batches = data.evaluation_loader("train", at_most=20)
    found = [int(index) for batch in batches for index in batch.indices]
    assert found == files.evaluation_order()[:20].tolist()
    chunks = [files.place(index)[0] for index in found]
    assert chunks == sorted(chunks)
    # All chunks but the last are whole.
    for chunk in set(chunks) - {chunks[-1]}:
        assert chunks.count(chunk) == sum(files.place(i)[0] == chunk for i in range(len(files)))
    # They are fetched in this order, and no others.
    assert expected[0] == found


def test_training_needs_no_pass_for_the_mean_image(
    raw_shards: Path, open_shards: OpenShards, tmp_path: Path
) -> None:
    train = open_shards(raw_shards).split("train")
    assert cached_statistics(train, tmp_path / "none", progress=False) is train.known_statistics
    assert not (tmp_path / "none").exists()


def test_fewer_training_images_are_those_of_the_folder(
    image_folder: Path, raw_shards: Path, open_shards: OpenShards
) -> None:
    few = open_shards(raw_shards, train_per_class=5).split("train")
    folder = FolderSource(image_folder, train_per_class=5).split("train")
    assert few.names == folder.names and few.labels.tolist() == folder.labels.tolist()
    assert few.known_statistics is None
    order = few.training_order(numpy.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(15))
    assert few.content_key() != open_shards(raw_shards).split("train").content_key()
    assert (few[7][0] == folder[7][0]).all()


def test_a_split_travels_to_another_process(raw_shards: Path, open_shards: OpenShards) -> None:
    train = open_shards(raw_shards).split("train")
    image = train[11][0]
    assert (pickle.loads(pickle.dumps(train))[11][0] == image).all()
    with pytest.raises(IndexError):
        train[48]


def test_few_chunks_are_open_at_a_time(raw_shards: Path, open_shards: OpenShards) -> None:
    train = open_shards(raw_shards, shuffle_window=1).split("train")
    for index in numpy.random.default_rng(0).permutation(48):
        train[int(index)]
    assert len(train._open) <= 5


def test_without_a_test_split_the_validation_images_are_tested(
    image_folder: Path, tmp_path: Path, open_shards: OpenShards
) -> None:
    from tests.conftest import write_images
    from tests.data.shards.conftest import prepare

    for split in ("train", "val"):
        for hue, name in enumerate(("n01", "n02")):
            write_images(tmp_path / split / name, 3, hue=hue)
    prepare(FolderSource(tmp_path), tmp_path / "out")
    source = open_shards(tmp_path / "out")
    assert source.split("test") is source.split("val")
    assert not (tmp_path / "out" / "test").exists()


def test_another_scheme_is_refused(open_shards: OpenShards) -> None:
    with pytest.raises(UserError, match=r"ftp://.* not known"):
        open_shards("ftp://somewhere/shards")


def test_going_on_in_mid_epoch_takes_the_rest_of_the_order(
    raw_shards: Path, open_shards: OpenShards
) -> None:
    whole = indices_of(ImageDataModule(open_shards(raw_shards), batch_size=5, workers=0), "train")
    loader = ImageDataModule(open_shards(raw_shards), batch_size=5, workers=2).train_dataloader()
    batches = iter(loader)
    seen = [index for _ in range(4) for index in next(batches).indices.tolist()]
    again = ImageDataModule(open_shards(raw_shards), batch_size=5, workers=1)
    again.load_state_dict(loader.state_dict())
    rest = [index for batch in again.train_dataloader() for index in batch.indices.tolist()]
    assert seen + rest == whole


def test_going_on_in_another_order_is_refused(
    image_folder: Path, raw_shards: Path, open_shards: OpenShards
) -> None:
    sources = [
        open_shards(raw_shards, shuffle_window=2),
        open_shards(raw_shards, shuffle_window=3),
        FolderSource(image_folder),
    ]
    loaders = [ImageDataModule(s, batch_size=5, workers=0).train_dataloader() for s in sources]
    for loader in loaders[1:]:
        next(iter(loader))
        with pytest.raises(UserError, match=r"data\.shuffle_window"):
            loaders[0].load_state_dict(loader.state_dict())
