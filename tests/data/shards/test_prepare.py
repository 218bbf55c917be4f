"""Shards hold what the folder holds, whatever interrupts their writing."""

import json
import shutil
from pathlib import Path

import numpy
import pytest
import torch

from tests.conftest import Compose, write_images
from tests.data.shards.conftest import OpenShards, contents, prepare
from zf_lightning.data import FolderSource, MultiLabelFiles, compute_statistics
from zf_lightning.data.shards import split_writer
from zf_lightning.errors import UserError


def test_raw_shards_hold_the_pixels_of_the_folder(
    image_folder: Path, raw_shards: Path, open_shards: OpenShards
) -> None:
    folder, shards = FolderSource(image_folder), open_shards(raw_shards)
    assert shards.class_names == folder.class_names
    for split in ("train", "val", "test"):
        files, samples = folder.split(split), shards.split(split)
        assert samples.names == files.names and samples.labels.tolist() == files.labels.tolist()
        for index in range(len(files)):
            image, *rest = samples[index]
            assert torch.equal(image, files[index][0])
            assert rest == [files.labels[index], index, 1.0]


def test_jpeg_shards_hold_nearly_the_pixels_of_the_folder(
    image_folder: Path, jpeg_shards: Path, open_shards: OpenShards
) -> None:
    files, samples = FolderSource(image_folder).split("val"), open_shards(jpeg_shards).split("val")
    for index in range(len(files)):
        difference = samples[index][0].float() - files[index][0].float()
        assert samples[index][0].shape == (3, 256, 256)
        assert difference.abs().mean() < 2.0


def test_statistics_are_those_of_the_folder(
    image_folder: Path, jpeg_shards: Path, open_shards: OpenShards
) -> None:
    expected = compute_statistics(FolderSource(image_folder).split("train"), progress=False)
    found = open_shards(jpeg_shards).split("train").known_statistics
    assert found is not None
    for name, value in vars(expected).items():
        assert torch.equal(getattr(found, name), value), name


def test_litdata_reads_the_shards(image_folder: Path, jpeg_shards: Path, tmp_path: Path) -> None:
    from litdata import StreamingDataset

    copy = tmp_path / "copy"
    shutil.copytree(jpeg_shards / "train", copy)
    dataset = StreamingDataset(str(copy), drop_last=False, shuffle=False)
    files = FolderSource(image_folder).split("train")
    found = [dataset[number] for number in range(len(dataset))]
    assert sorted(sample["index"] for sample in found) == list(range(len(files)))
    for sample in found:
        assert bytes(sample["name"]).decode() == files.names[sample["index"]]
        assert sample["label"] == files.labels[sample["index"]]
        assert bytes(sample["image"][:2]) == b"\xff\xd8"


@pytest.mark.parametrize("workers", [1, 2])
def test_the_content_is_the_same_with_any_number_of_workers(
    image_folder: Path, jpeg_shards: Path, tmp_path: Path, workers: int
) -> None:
    prepare(FolderSource(image_folder), tmp_path / "out", "jpeg", workers=workers)
    assert contents(tmp_path / "out") == contents(jpeg_shards)


def test_chunks_mix_the_classes(raw_shards: Path, open_shards: OpenShards) -> None:
    train = open_shards(raw_shards).split("train")
    first = [train.labels[index] for index in train.evaluation_order()[:14]]
    assert len(set(first)) == 3


@pytest.mark.parametrize("after", [1, 4, 8])
def test_an_interrupted_preparation_goes_on(
    image_folder: Path,
    raw_shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    written: list[int] = []
    write_chunk = split_writer.SplitWriter._write_chunk

    def interrupted(writer, number, blocks):  # type: ignore[no-untyped-def]
        if len(written) == after:
            raise KeyboardInterrupt
        written.append(number)
        write_chunk(writer, number, blocks)

    source, out = FolderSource(image_folder), tmp_path / "out"
    monkeypatch.setattr(split_writer.SplitWriter, "_write_chunk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(source, out)
    assert not (out / "dataset.json").exists()
    first = list(written)
    # Goes on, and only with what is missing: 7 chunks of training, one each of the others.
    after = 100
    prepare(source, out)
    assert len(written) == 9 and written[: len(first)] == first
    assert contents(out) == contents(raw_shards)


def test_a_finished_preparation_is_only_verified_again(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = FolderSource(image_folder), tmp_path / "out"
    first = prepare(source, out)
    monkeypatch.setattr(split_writer.SplitWriter, "_write_chunk", None)
    assert prepare(source, out) == first
    chunk = out / "train" / "chunk-0-3.bin"
    data = bytearray(chunk.read_bytes())
    data[1000] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(UserError, match=r"chunk-0-3\.bin is not what was written"):
        prepare(source, out)


def test_files_that_cannot_be_read_are_named_and_can_be_left_out_or_repaired(
    tmp_path: Path, open_shards: OpenShards
) -> None:
    root = tmp_path / "images"
    for hue, name in enumerate(("red", "green")):
        write_images(root / "train" / name, 10, hue=hue)
        write_images(root / "val" / name, 2, hue=hue)
    good = (root / "train/green/003.png").read_bytes()
    (root / "train/green/003.png").write_bytes(good[:100])
    (root / "train/red/007.png").write_text("not an image")
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"none may be \(data\.max_bad_files\.train\)") as caught:
        prepare(FolderSource(root), out)
    assert "003.png" in str(caught.value) and "007.png" in str(caught.value)

    left = prepare(FolderSource(root), out, max_bad_files={"train": 2})
    assert len(left.left_out) == 2
    assert left.counts == {"train": [9, 9], "val": [2, 2]}
    train = open_shards(out).split("train")
    assert len(train) == 18 and "train/green/003.png" not in train.names
    assert [train[index][2] for index in range(18)] == list(range(18))

    other = tmp_path / "repaired"
    with pytest.raises(UserError):
        prepare(FolderSource(root), other)
    (root / "train/green/003.png").write_bytes(good)
    (root / "train/red/007.png").write_bytes(good)
    assert prepare(FolderSource(root), other).counts == {"train": [10, 10], "val": [2, 2]}
    assert len(open_shards(other).split("train")) == 20


def test_another_folder_is_not_overwritten(image_folder: Path, tmp_path: Path) -> None:
    source, out = FolderSource(image_folder), tmp_path / "out"
    prepare(source, out)
    with pytest.raises(UserError, match=r"with different options \(format, quality\)"):
        prepare(source, out, "jpeg")
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="is not empty"):
        prepare(source, tmp_path / "else")


@pytest.mark.parametrize("option", ["quality=0", "chunk_images=0", "chunk_images=1000000"])
def test_mistakes_are_one_sentence(compose_config: Compose, option: str) -> None:
    with pytest.raises(UserError, match=f"prepare.{option}"):
        compose_config(
            "task=prepare", "data.root=images", "prepare.out=shards", f"prepare.{option}"
        )


def test_images_with_several_labels_are_refused(image_folder: Path, tmp_path: Path) -> None:
    source = FolderSource(image_folder)
    for split in ("train", "val", "test"):
        files = source.split(split)
        presence = numpy.zeros((len(files), 3))
        source._splits[split] = MultiLabelFiles(files.root, files.names, files.labels, presence)
    with pytest.raises(UserError, match="one label an image"):
        prepare(source, tmp_path / "out")


def test_the_index_names_every_chunk_with_its_checksum(raw_shards: Path) -> None:
    index = json.loads((raw_shards / "train" / "index.json").read_text())
    assert [entry["chunk_size"] for entry in index["chunks"]] == [7] * 6 + [6]
    assert all(len(entry["sha256"]) == 64 for entry in index["chunks"])
