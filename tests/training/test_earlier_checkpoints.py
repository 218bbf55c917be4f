"""Checkpoints of 0.1.0, before modules moved: loaded, and their configuration used."""

import json
from pathlib import Path

import pytest
import torch

from tests.conftest import Compose
from zf_lightning.config.instantiate import check_target, plain
from zf_lightning.tasks.transfer.from_scratch import TRAINING
from zf_lightning.training.checkpoint import LEARNT, configuration_of
from zf_lightning.training.checkpoint_file import read_checkpoint
from zf_lightning.training.module import ImageClassifier

#: `hyper_parameters` of a checkpoint that 0.1.0 wrote: zfnet_small of width 0.05, drop_conv34.
PARAMETERS = json.loads(Path(__file__).with_name("parameters_of_0_1_0.json").read_text())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """As 0.1.0 wrote it, without a checksum of the whole; the weights are others."""
    state = ImageClassifier(**PARAMETERS).state_dict()
    file = tmp_path / "last.ckpt"
    torch.save({"state_dict": state, "hyper_parameters": PARAMETERS, "epoch": 1}, file)
    return file


def test_the_network_is_loaded(path: Path) -> None:
    layers = [
        name for name, _ in ImageClassifier.load_from_checkpoint(path).network.named_children()
    ]
    assert "conv5" in layers and "conv3" not in layers
    schedule = read_checkpoint(path)["hyper_parameters"]["scheduler"]["schedule"]
    assert schedule["_target_"] == "zf_lightning.training.schedules.one_cycle"


@pytest.mark.parametrize("parts", [LEARNT, TRAINING])
def test_its_configuration_names_what_is_there(
    parts: tuple[str, ...], path: Path, compose_config: Compose
) -> None:
    assert "_target_: callbacks.Stall" in PARAMETERS["description"]["config"]
    config = configuration_of(path, compose_config("task=test"), ["task=test"], parts=parts)
    if "callbacks" in parts:
        # Its options have other names now; from scratch there is none.
        config.callbacks.probe = None
    check_target(plain(config))
    assert config.data.root == "images" or "data" not in parts
