"""A run's folder from a stranger: its command may not lead to code or files of others."""

import json
from pathlib import Path

import pytest

from zf_lightning.cli.resume import resumed_command
from zf_lightning.errors import UserError
from zf_lightning.sweep import command_of, record_command


def stored(folder: Path, *overrides: str, flags: tuple[str, ...] = (), sweep: bool = False) -> str:
    record_command(folder, command_of(flags=flags, overrides=overrides, sweep=sweep))
    return f"resume={folder}"


@pytest.mark.parametrize(
    "override",
    [
        "model.network._target_=os.system",
        "+data.source={_target_: os.system}",
        "data.source._target_='os.system'",
        "+trainer.plugins=[{a: {_target_: os.system}}]",
        "optimizer._target_=torch.optim.SGD,os.system",
        "optimizer._target_=torch.optim.optimizer.os.system",
        "model.network=${oc.decode:'{_tar${a}: os.system}'}",
        "+a=${oc.create:{b: 1}}",
        "model=../../evil",
        "+experiment=/tmp/evil",
        "model@hydra.callbacks.x=custom",
        "hydra.searchpath=[file:///tmp/evil]",
        "hydra/launcher=../../evil",
        "hydra.callbacks.x._target_=os.system",
        "hydra.job.env_set={LD_PRELOAD: evil.so}",
        "hydra.job_logging.handlers.x={class: os.system}",
        "hydra.launcher.setup=[evil]",
        "hydra.sweeper.jobs=[{model: ../../evil}]",
        "hydra.sweeper.jobs=[{model.network._target_: os.system}]",
        "hydra.sweeper={params: {model: ../../evil}}",
    ],
)
def test_what_could_run_code_is_refused(override: str, tmp_path: Path) -> None:
    asked = stored(tmp_path, "seed=1", override)
    with pytest.raises(UserError, match=r"command\.json") as refused:
        resumed_command([asked])
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "flags",
    [
        ("--config-dir", "conf"),
        ("--config-path=conf",),
        ("--config-name", "../evil"),
        ("--experimental-rerun", "config.pickle"),
    ],
)
def test_other_configuration_files_must_be_named_again(
    flags: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="give the same on the command line"):
        resumed_command([stored(tmp_path, "seed=1", flags=flags)])


def test_what_the_command_line_names_or_trusts_is_called(tmp_path: Path) -> None:
    mine = "model.network._target_=my_package.Network"
    asked = stored(tmp_path, "seed=1", mine)
    with pytest.raises(UserError, match=r"add trust=\[my_package.Network\] to the command"):
        resumed_command([asked])
    assert mine in resumed_command([asked, mine])
    assert mine in resumed_command([asked, "trust=[my_package.Network]"])
    # The file cannot say so itself.
    record_command(tmp_path, command_of(flags=(), overrides=("trust=[a.b]",), sweep=False))
    assert not any(argument.startswith("trust") for argument in resumed_command([asked]))


def test_ordinary_commands_are_resumed(tmp_path: Path) -> None:
    ordinary = [
        "model=zfnet",
        "ablation=none,drop_fc7,[drop_conv34,drop_fc7]",
        "+model.network.depth=3",
        "~callbacks.probe",
        "logger=[csv]",
        "data.root='/a folder/ä,b'",
        "paths.data=${paths.run}/data",
        "optimizer._target_=torch.optim.AdamW",
        "scheduler.schedule={_target_: torch.optim.lr_scheduler.CosineAnnealingLR, T_max: 3}",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        "hydra/sweeper=job_list",
        "hydra.sweeper.jobs=[{model: zfnet, ablation: none}, {seed: 3}]",
    ]
    asked = stored(tmp_path, *ordinary, sweep=True)
    assert resumed_command([asked])[1:-1] == ordinary


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sweep": 1}', '{"sweep": false, "flags": [0]}'])
def test_a_damaged_command_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "command.json").write_text(text)
    with pytest.raises(UserError, match=r"command\.json .* Type the command again"):
        resumed_command([f"resume={tmp_path}"])


def test_an_edit_is_found_and_an_earlier_version_is_read(tmp_path: Path) -> None:
    asked = stored(tmp_path, "seed=1")
    path = tmp_path / "command.json"
    content = json.loads(path.read_text())
    content["overrides"] = ["seed=2"]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="if you edited it, delete that line"):
        resumed_command([asked])
    del content["checksum"]
    path.write_text(json.dumps(content))
    assert resumed_command([asked])[0] == "seed=2"
