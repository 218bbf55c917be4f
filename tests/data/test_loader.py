"""Workers of the loader hand over what they read, or a sentence says why they cannot."""

import tempfile
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch.utils.data import TensorDataset

from zf_lightning.data.loader import BatchLoader
from zf_lightning.errors import UserError
from zf_lightning.inspection.subject import file_loader
from zf_lightning.system.worker_sockets import LONGEST_TEMPORARY_FOLDER


def test_a_temporary_folder_with_too_long_a_path_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = "/" + "t" * LONGEST_TEMPORARY_FOLDER
    monkeypatch.setattr(tempfile, "tempdir", folder)
    numbers = TensorDataset(torch.arange(4))
    # It is never made: the workers are not started.
    with pytest.raises(UserError, match=f"{folder}, takes 76 bytes.*data.workers=0"):
        next(iter(BatchLoader(numbers, num_workers=1)))
    assert len([*BatchLoader(numbers)]) == 4
    config = OmegaConf.create({"data": {"batch_size": 1, "workers": 1}})
    with pytest.raises(UserError, match=f"{folder}, takes 76 bytes"):
        file_loader(config, numbers)
    config.data.workers = 0
    assert len([*file_loader(config, numbers)]) == 4


def test_workers_hand_over_tensors_by_the_longest_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = Path(tempfile.mkdtemp(dir=tmp_path_factory.getbasetemp()))
    room = LONGEST_TEMPORARY_FOLDER - len(str(base)) - 1
    if room < 1:
        pytest.skip("the tests' own folder has a longer path")
    folder = base / ("t" * room)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    numbers = TensorDataset(torch.arange(4))
    found = [batch[0] for batch in BatchLoader(numbers, num_workers=1, timeout=60)]
    assert torch.cat(found).tolist() == [0, 1, 2, 3]
