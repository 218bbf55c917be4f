"""Evaluation counts each sample once, and alike, on any number of processes and workers."""

from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.conftest import write_images
from zf_lightning.data import Batch, BatchLoader, FolderSource, ImageDataModule
from zf_lightning.training.metrics import ClassificationError


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> FolderSource:
    """Three classes; 31 validation images, which few batches divide, one of them damaged."""
    root = tmp_path_factory.mktemp("exactly_once")
    for hue, name in enumerate(("red", "green", "blue")):
        write_images(root / "train" / name, 1, hue=hue)
        write_images(root / "val" / name, 11 if hue else 9, hue=hue)
    (root / "val" / "red" / "004.png").write_text("damaged")
    return FolderSource(root)


def loaders(
    source: FolderSource, *, processes: int, workers: int, batch_size: int
) -> Iterator[BatchLoader]:
    """The validation loader of each process in turn."""
    for rank in range(processes):
        data = ImageDataModule(
            source, batch_size=batch_size, workers=workers, max_bad_files={"evaluation": 1}
        )
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        trainer: Any = SimpleNamespace(
            global_rank=rank, world_size=processes, num_devices=processes, strategy=strategy
        )
        data.trainer = trainer
        yield data.val_dataloader()


def scored(batches: list[Batch]) -> ClassificationError:
    """The errors of a classifier that is often wrong, and the same in whatever batch it looks."""
    metric = ClassificationError()
    for batch in batches:
        probabilities = (batch.images.long().sum((2, 3)) % 7 + 1).double()
        metric.update(probabilities / probabilities.sum(1, True), batch.labels, batch.valid)
    return metric


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [6, 12, 48])
def test_each_sample_counts_once_and_alike(
    processes: int, workers: int, batch_size: int, source: FolderSource
) -> None:
    files = source.split("val")
    several = loaders(source, processes=processes, workers=workers, batch_size=batch_size)
    dealt = []
    bad = 0
    for loader in several:
        dealt.append(list(loader))
        assert loader.bad_files is not None
        bad += loader.bad_files.count
    assert bad == 1
    # No process waits in vain for another.
    assert len({len(batches) for batches in dealt}) == 1
    counted = Counter(
        index for batches in dealt for b in batches for index in b.indices[b.valid].tolist()
    )
    damaged = next(i for i, name in enumerate(files.names) if name == "val/red/004.png")
    assert counted == Counter(set(range(len(files))) - {damaged})
    for batches in dealt:
        for batch in batches:
            assert batch.labels.tolist() == files.labels[batch.indices.numpy()].tolist()

    [alone] = loaders(source, processes=1, workers=0, batch_size=7)
    expected = scored(list(alone))
    parts = [scored(batches) for batches in dealt]
    for name in ("wrong_top1", "wrong_top5", "count"):
        total = sum(int(getattr(part, name)) for part in parts)
        assert total == int(getattr(expected, name)), name
    assert 0 < int(expected.wrong_top1) < int(expected.count) == 30
    loss = sum(float(part.loss_sum) for part in parts)
    assert loss == pytest.approx(float(expected.loss_sum), rel=1e-12)
