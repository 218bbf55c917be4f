"""Names and commands of a sweep's jobs."""

import pytest

from zf_lightning.sweep import DISTRIBUTED_VARIABLES, SWEEP_OPTIONS, job_folder, remember_swept
from zf_lightning.sweep.names import SWEPT_VARIABLE


@pytest.fixture(autouse=True)
def _nothing_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWEPT_VARIABLE, "")


def test_a_jobs_folder_is_named_by_what_is_swept() -> None:
    overrides = ["ablation=drop_fc7", "trainer.devices=2", "seed=1"]
    assert job_folder(overrides) == "ablation=drop_fc7,trainer.devices=2,seed=1"
    remember_swept(["ablation=drop_fc7,none", "trainer.devices=2", "seed=range(3)"])
    assert job_folder(overrides) == "ablation=drop_fc7,seed=1"
    remember_swept(["ablation=[drop_fc7,fc_2048]", "model=zfnet"])
    assert job_folder(overrides) == "ablation=drop_fc7,trainer.devices=2,seed=1"


def test_names_have_no_slashes() -> None:
    assert job_folder(["data.root=/a/b c"]) == "data.root=_a_b_c"
    assert job_folder([]) == "unchanged"


def test_long_names_stay_short_and_different() -> None:
    names = {job_folder([f"model.name={'x' * 400}{number}"]) for number in range(3)}
    assert len(names) == 3
    assert all(len(name) <= 150 for name in names)


def test_a_job_does_not_inherit_what_belongs_to_its_parent() -> None:
    for variable in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "PL_GLOBAL_SEED"):
        assert DISTRIBUTED_VARIABLES.fullmatch(variable)
    assert not DISTRIBUTED_VARIABLES.fullmatch("SLURM_JOB_ID")
    for option in ("hydra.sweep.dir=x", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"):
        assert SWEEP_OPTIONS.match(option)
    assert not SWEEP_OPTIONS.match("hydra.verbose=true")
