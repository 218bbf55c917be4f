"""Checkpoints are used where their run is not: elsewhere, with the data that it had."""

from pathlib import Path

from omegaconf import OmegaConf

from zf_lightning.training.checkpoint import _find_data


def test_data_is_taken_from_where_the_run_had_it(tmp_path: Path) -> None:
    (tmp_path / "drawn").mkdir()
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    checkpoint.parent.mkdir(parents=True)
    OmegaConf.save({"data": {"root": str(tmp_path / "drawn")}}, tmp_path / "run" / "config.yaml")
    here = {"paths": {"data": str(tmp_path)}, "data": {"root": "${paths.data}/nothing"}}
    config = OmegaConf.create(here)
    _find_data(config, checkpoint)
    assert config.data.root == str(tmp_path / "drawn")
    (tmp_path / "nothing").mkdir()
    config = OmegaConf.create(here)
    _find_data(config, checkpoint)
    assert config.data.root == f"{tmp_path}/nothing", "what is here comes first"
