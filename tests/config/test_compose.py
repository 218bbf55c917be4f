"""Configurations outside the command line, and what the command line asked for."""

from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

from tests.conftest import ROOT, Compose
from zf_lightning.config.instantiate import check_target, plain
from zf_lightning.config.options import overridden
from zf_lightning.config.renamed import with_current_targets
from zf_lightning.config.task_options import TASK_OPTIONS
from zf_lightning.errors import UserError
from zf_lightning.tasks import train
from zf_lightning.training.build import build_model_options


def test_a_configuration_holds_the_options_of_its_own_task(compose_config: Compose) -> None:
    for task in TASK_OPTIONS:
        config = compose_config(f"task={task}")
        assert [name for name in TASK_OPTIONS if name in config] == [task]
    assert not set(TASK_OPTIONS) & set(compose_config())


def test_it_says_what_was_asked_for(compose_config: Compose) -> None:
    assert overridden(compose_config("seed=3", "model=zfnet")) == ["seed=3", "model=zfnet"]
    with pytest.raises(UserError, match="does not say which options were given"):
        overridden(OmegaConf.create({}))


def test_a_task_runs_on_what_hydra_alone_composed(bare: list[str], tmp_path: Path) -> None:
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = hydra.compose("config", [*bare, f"paths.run={tmp_path / 'run'}"])
    result = train.run(config)
    assert result["test/images"] == 6
    assert (tmp_path / "run" / "result.json").exists()


def test_the_command_line_wins_over_an_ablation(compose_config: Compose) -> None:
    chosen = ("model=zfnet", "ablation=maps_512_1024_512")
    layers = build_model_options(compose_config(*chosen, "model.convs.conv3.maps=600"))["convs"]
    assert [layers[name]["maps"] for name in ("conv3", "conv4", "conv5")] == [600, 1024, 512]
    without = build_model_options(compose_config(*chosen))["convs"]
    assert without["conv3"]["maps"] == 512
    removed = compose_config("ablation=drop_conv34", "model.convs.conv3.maps=600")
    with pytest.raises(UserError, match=r"conv3\.maps is an option of a layer that an ablation"):
        build_model_options(removed)


def test_targets_of_earlier_versions_are_found(compose_config: Compose) -> None:
    # As checkpoints of earlier versions hold them.
    old = {
        "callbacks": {"stall": {"_target_": "callbacks.Stall", "tolerance": 0.005}},
        "logger": [{"_target_": "zf_lightning.loggers.MetricsFile", "path": "metrics.csv"}],
        "schedule": {"_target_": "zf_lightning.schedules.one_cycle", "warmup_share": 0.25},
        "source": {"_target_": "zf_lightning.data.FolderSource", "root": "callbacks.here"},
    }
    new = with_current_targets(old)
    assert new["callbacks"]["stall"]["_target_"] == "zf_lightning.callbacks.Stall"
    assert new["schedule"]["_target_"] == "zf_lightning.training.schedules.one_cycle"
    assert new["source"] == old["source"]
    for name in ("stall",):
        current = plain(compose_config().callbacks[name])
        check_target({**current, **new["callbacks"][name]})
    check_target(new["logger"])
