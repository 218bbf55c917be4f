"""Configurations outside the command line, as in a notebook."""

from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf, open_dict

from zf_lightning.config import CONF, schema
from zf_lightning.config.check import check, check_arguments
from zf_lightning.config.options import names_of
from zf_lightning.config.targets import trust, trust_targets_in


def compose(*overrides: str, folder: str | Path) -> DictConfig:
    """The configuration that the command line would compose for `overrides`, for a run in `folder`.

    Hand it to a task: `tasks.train.run(compose("model=zfnet", folder="outputs/mine"))`.
    Raises UserError for values out of their range, Hydra's and OmegaConf's exceptions for options
    that do not exist.
    """
    schema.register()
    check_arguments(overrides)
    with hydra.initialize_config_dir(str(CONF.resolve()), version_base="1.3"):
        config = hydra.compose("config", list(overrides))
    folder = Path(folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    set_places(config, folder)
    return with_overrides(config, overrides)


def set_places(config: DictConfig, folder: Path) -> None:
    """Put paths where Hydra's own variables name them, which only its main function sets."""
    for name, place in (("run", folder), ("data", Path.cwd() / "data")):
        node = OmegaConf.to_container(config.paths, resolve=False)
        assert isinstance(node, dict)
        if "${hydra:" in str(node[name]):
            config.paths[name] = str(place)


def with_overrides(config: DictConfig, overrides: list[str] | tuple[str, ...]) -> DictConfig:
    """The composed configuration of a task: with what was asked for, without other tasks' options.

    What was asked for is read by `options.overridden`. Code that the user names here may be named
    by a checkpoint too.
    Raises UserError for an option that does not exist or a value out of its range.
    """
    schema.drop_other_tasks(config)
    with open_dict(config):
        config.overrides = list(overrides)
    check(config)
    trust_targets_in(OmegaConf.to_container(config, resolve=False))
    if config.trust:
        trust(*names_of(config.trust, option="trust"))
    return config
