"""Names and commands of a sweep's jobs."""

from zf_lightning.sweep import DISTRIBUTED_VARIABLES, SWEEP_OPTIONS, folder_name


def test_a_jobs_folder_is_named_by_its_overrides() -> None:
    assert folder_name("ablation=drop_fc7,seed=1") == "ablation=drop_fc7,seed=1"
    assert "/" not in folder_name("data.root=/a/b c")
    assert folder_name("") == "unchanged"


def test_long_names_stay_short_and_different() -> None:
    names = {folder_name("x" * 400 + str(number)) for number in range(3)}
    assert len(names) == 3
    assert all(len(name) <= 150 for name in names)


def test_a_job_does_not_inherit_what_belongs_to_its_parent() -> None:
    for variable in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "PL_GLOBAL_SEED"):
        assert DISTRIBUTED_VARIABLES.fullmatch(variable)
    assert not DISTRIBUTED_VARIABLES.fullmatch("SLURM_JOB_ID")
    for option in ("hydra.sweep.dir=x", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"):
        assert SWEEP_OPTIONS.match(option)
    assert not SWEEP_OPTIONS.match("hydra.verbose=true")
