"""Unreadable files are left out, named and counted, by any number of workers and processes."""

import logging
from pathlib import Path

import pytest
import torch

from tests.conftest import Compose, write_images
from zf_lightning.data import (
    Batch,
    FolderSource,
    ImageDataModule,
    cached_statistics,
    compute_statistics,
)
from zf_lightning.data.bad_files import BadFiles
from zf_lightning.errors import UnreadableImage, UserError
from zf_lightning.tasks import train


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Two classes in given splits; 2 of 20 training images and 1 of 6 others are damaged."""
    root = tmp_path / "damaged"
    for split, count in (("train", 10), ("val", 3)):
        for hue, name in enumerate(("red", "green")):
            write_images(root / split / name, count, hue=hue)
    for name in ("train/red/003.png", "train/green/007.png", "val/red/001.png"):
        (root / name).write_text("damaged")
    return root


def loaded(root: Path, split: str, *, workers: int = 0, allowed: float = 2, batch: int = 8):  # type: ignore[no-untyped-def]
    data = ImageDataModule(
        FolderSource(root),
        batch_size=batch,
        workers=workers,
        max_bad_files={"train": allowed, "evaluation": allowed},
    )
    return {"train": data.train_dataloader, "val": data.val_dataloader}[split]()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_file_has_weight_0_and_is_named_once(
    workers: int, damaged: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loader = loaded(damaged, "train", workers=workers)
    for _ in range(2):
        batches = list(loader)
        valid = torch.cat([batch.valid for batch in batches])
        indices = torch.cat([batch.indices for batch in batches])
        names = loader.dataset.names
        assert sorted(names[i] for i in indices[~valid]) == [
            "train/green/007.png",
            "train/red/003.png",
        ]
        assert sorted(indices.tolist()) == list(range(20))
        assert loader.bad_files.count == 2
        # Weights add up as if the bad files had not been in the batch.
        for batch in batches:
            assert batch.weights.mean().item() == pytest.approx(1.0)
    assert caplog.text.count("cannot be read as an image") == 2


def test_more_than_are_allowed_stop_with_their_names(damaged: Path) -> None:
    with pytest.raises(UserError) as mistake:
        list(loaded(damaged, "train", allowed=1, batch=20))
    assert "003.png" in mistake.value.sentence and "007.png" in mistake.value.sentence
    assert "1 of 20 may be (data.max_bad_files.train)" in mistake.value.sentence
    with pytest.raises(UserError, match=r"001\.png .* none may be \(data.max_bad_files.evaluation"):
        list(loaded(damaged, "val", allowed=0))


def test_what_only_fills_up_a_batch_is_not_counted_again(damaged: Path) -> None:
    files = FolderSource(damaged).split("val")
    from zf_lightning.data import SampleKey

    bad = next(i for i, name in enumerate(files.names) if name == "val/red/001.png")
    assert files[SampleKey(bad, 0.0)][3] == 0.0
    assert files[SampleKey(bad, 0.5)][3] != files[SampleKey(bad, 0.5)][3]
    with pytest.raises(UnreadableImage):
        files[bad]


def test_a_batch_of_bad_files_alone_weighs_nothing(damaged: Path) -> None:
    files = FolderSource(damaged).split("train")
    bad = BadFiles(files, limit=5, option="data.max_bad_files.train")
    nothing = torch.full((2,), torch.nan)
    batch = Batch(torch.zeros(2, 3, 4, 4), torch.zeros(2).long(), torch.tensor([3, 4]), nothing)
    assert bad.leave_out(batch).weights.tolist() == [0.0, 0.0]
    with pytest.raises(UserError, match="could not be read at first"):
        bad.check(6)


def test_of_very_many_some_are_named(damaged: Path) -> None:
    bad = BadFiles(FolderSource(damaged).split("train"), limit=0, option="x")
    bad.met = {number: f"file {number}" for number in range(50)}
    with pytest.raises(UserError, match="file 19; and 30 more: none may be"):
        bad.check(50)


@pytest.mark.parametrize(
    ("allowed", "expected"), [(0, 0), (0.001, 1281), (0.5, 640583), (1, 1), (30, 30)]
)
def test_a_limit_is_a_share_or_a_number(allowed: float, expected: int) -> None:
    bad = BadFiles.of_split(range(1281167), "train", {"train": allowed})
    assert bad.limit == expected


def test_the_mean_image_is_that_of_the_readable_files(damaged: Path) -> None:
    files = FolderSource(damaged).split("train")
    allowed = BadFiles(files, limit=2, option="data.max_bad_files.train")
    found = compute_statistics(files, progress=False, bad_files=allowed)
    good = [i for i in range(20) if files.names[i][-7:] not in ("003.png", "007.png")]
    good += [i for i in range(20) if files.names[i] in ("train/green/003.png", "train/red/007.png")]
    mean = torch.stack([files[i][0] for i in good]).double().mean(0)
    torch.testing.assert_close(found.mean_image.double(), mean, atol=1e-4, rtol=0)
    with pytest.raises(UserError, match=r"data\.max_bad_files\.train"):
        cached_statistics(files, damaged / "cache", progress=False)
    assert not list(damaged.glob("cache/*.safetensors"))


def test_a_run_counts_what_it_leaves_out(
    damaged: Path, compose_config: Compose, tiny: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    options = [*tiny, f"data.root={damaged}", "data.workers=1", "callbacks.probe=null"]
    allowed = ["data.max_bad_files.train=0.1", "data.max_bad_files.evaluation=1"]
    with caplog.at_level(logging.WARNING):
        result = train.run(compose_config(*options, *allowed))
    assert result["train/bad_files"] == 2
    assert result["val/bad_files"] == result["test/bad_files"] == 1
    assert result["val/images"] == result["test/images"] == 5
    assert result["tested_on"] == "val" and "confused" in result
    assert "val/red/001.png cannot be read as an image (its format is not known)" in caplog.text
    with pytest.raises(UserError, match="evaluation"):
        train.run(compose_config(*options, allowed[0]))
