"""Every command that README, documentation and experiments show is legal.

The commands are read from the files, so that none can be forgotten: each is composed as the command
line composes it and checked as before its task is run; of a sweep, each of its jobs.
"""

import hydra
import pytest

from tests.commands.collected import Command, collected, jobs
from tests.conftest import Compose
from zf_lightning.cli import main as command_line
from zf_lightning.config.compose import CONF
from zf_lightning.config.instantiate import check_target, plain

COMMANDS = collected()
#: What stands for something of the user's that must exist already when a command is checked.
STANDS_FOR = {
    "ablation=NAME": "ablation=drop_fc7",
    "model.network._target_=package.Class": "model.network._target_=tests.networks.Skipping",
    "model.name=NAME": "model.name=squeezenet1_0",
    "data.root=…": "data.root=FOLDER",
}
#: Commands that compose nothing of their own, and the test that runs them.
ELSEWHERE = {
    "--help": "tests/cli",
    "resume=last": "tests/cli/test_resume.py: the command of the run is composed again",
    "resume=FOLDER trainer.max_epochs=100": "tests/cli/test_resume.py",
}


def swept(overrides: list[str]) -> list[list[str]]:
    """The jobs of a sweep, those that an experiment brings too."""
    with hydra.initialize_config_dir(str(CONF.resolve()), version_base="1.3"):
        whole = hydra.compose("config", jobs(overrides)[0], return_hydra_config=True)
    sweeper = whole.hydra.sweeper
    params = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    listed = [[f"{key}={value}" for key, value in job.items()] for job in sweeper.get("jobs") or []]
    return [[*job, *own] for job in jobs([*overrides, *params]) for own in listed or [[]]]


def test_the_commands_are_found() -> None:
    texts = {command.text for command in COMMANDS}
    assert {
        "",
        "-m ablation=drop_fc6_fc7,drop_conv34",
        "model=zfnet trainer.devices=2",
        "-m experiment=table3 data.root=IMAGENET",
        "-m experiment=caltech_from_scratch callbacks=paper,default data.root=…",
        "-m experiment=caltech_from_scratch data.root=… transfer.per_class=[30] "
        "ablation=none,drop_fc7,drop_fc6_fc7,drop_conv34,drop_conv34_fc67",
    } <= texts
    assert texts >= set(ELSEWHERE)


# Hydra's, of launchers whose options it knows already; zf_lightning/sweep/names.py silences it.
@pytest.mark.filterwarnings(r"ignore:\s*'hydra/launcher:UserWarning")
@pytest.mark.parametrize(
    "command",
    [command for command in COMMANDS if command.text not in ELSEWHERE],
    ids=lambda command: command.text or "no options",
)
def test_every_command_is_legal(command: Command, compose_config: Compose) -> None:
    overrides = [STANDS_FOR.get(override, override) for override in command.overrides]
    every = [command_line.with_lists(overrides)]
    if command.sweeps:
        every = swept(overrides)
        assert len(every) > 1, "a sweep of one"
    for job in every:
        config = compose_config(*job)
        command_line.check_needed(config)
        check_target(plain(config))
