"""Sweeps over a list of jobs, and the experiments that use them."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from tests.conftest import ROOT, Compose
from zf_lightning import paper
from zf_lightning.cli.main import add_plugins
from zf_lightning.config.instantiate import plain
from zf_lightning.models import apply_ablation
from zf_lightning.sweep import remember_swept, swept_keys

JOBS = [{"model": "a", "ablation": "x"}, {"model": "a", "ablation": "y"}, {"model": "b"}]


def jobs(*given: str) -> list[list[str]]:
    add_plugins()
    # Hydra makes the classes of its plugins anew when it looks for them.
    Plugins.instance()
    from hydra_plugins.job_list import JobListSweeper

    parsed = OverridesParser.create().parse_overrides(list(given))
    batches = JobListSweeper(JOBS).split_arguments(parsed, None)
    return [job for batch in batches for job in batch]


def test_each_job_is_run_for_each_value_of_what_else_is_swept() -> None:
    assert jobs() == [["model=a", "ablation=x"], ["model=a", "ablation=y"], ["model=b"]]
    found = jobs("seed=1,2", "data=imagenet")
    assert len(found) == 6
    assert found[1] == ["seed=2", "data=imagenet", "model=a", "ablation=x"]


def test_an_option_that_the_jobs_name_chooses_among_them() -> None:
    assert jobs("model=a", "ablation=y") == [["model=a", "ablation=y"]]
    assert jobs("model=b,c", "seed=1") == [["seed=1", "model=b"]]
    with pytest.raises(HydraException, match="None of the jobs"):
        jobs("model=c")


def test_table_3_has_every_row_of_the_paper_once(compose_config: Compose) -> None:
    experiment = OmegaConf.load(ROOT / "conf" / "experiment" / "table3.yaml")
    listed = [(job.model, job.ablation) for job in experiment.hydra.sweeper.jobs]
    rows = [(network, name) for network, found in paper.TABLE_3.items() for name in found]
    assert listed == rows
    for network in paper.TABLE_3:
        config = compose_config("experiment=table3", "data.root=somewhere", f"model={network}")
        assert config.data.name == "imagenet" and config.model.width == 1.0
        assert config.optimizer.weight_decay == 0
        check_ablations(config, [ablation for model, ablation in listed if model == network])


def check_ablations(config: DictConfig, names: list[str]) -> None:
    """The configured network has every layer that these ablations change."""
    for name in names:
        ablation = OmegaConf.load(ROOT / "conf" / "ablation" / f"{name}.yaml")
        apply_ablation(plain(config.model), plain(ablation), name=name)


def test_the_caltech_experiment_is_what_it_says(compose_config: Compose) -> None:
    config = compose_config("experiment=caltech_ablations", "data.root=somewhere")
    assert config.model.name == "zfnet_small" and config.data.train_per_class == 30
    assert config.trainer.max_epochs == 40
    params = OmegaConf.load(ROOT / "conf" / "experiment" / "caltech_ablations.yaml").hydra.sweeper
    ablations = params.params.ablation.split(",")
    assert len(ablations) >= 6 and ablations[0] == "none"
    check_ablations(config, ablations)


def test_what_the_jobs_of_a_list_name_is_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZF_LIGHTNING_SWEPT", "")
    remember_swept(["seed=1,2", "data=imagenet"], also=["model", "ablation"])
    assert swept_keys() == ["model", "ablation", "seed"]
