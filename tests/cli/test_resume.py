"""`resume=FOLDER|last` becomes the command of the earlier run."""

import json
import os
from pathlib import Path

import pytest

from tests.runs import command
from zf_lightning.cli.resume import resumed_command
from zf_lightning.errors import UserError
from zf_lightning.sweep import command_of, record_command


def earlier(folder: Path, *overrides: str, sweep: bool = False, flags: tuple[str, ...] = ()) -> str:
    record_command(folder, command_of(flags=flags, overrides=overrides, sweep=sweep))
    return f"resume={folder}"


def test_without_resume_the_command_stays_as_it_is() -> None:
    arguments = ["-m", "ablation=none,drop_fc7", "~callbacks.probe", "seed=1"]
    assert resumed_command(arguments) == arguments
    assert resumed_command([*arguments, "resume=null"]) == arguments


def test_the_earlier_runs_options_come_back_and_new_ones_win(tmp_path: Path) -> None:
    places = ("hydra.run.dir=x", "hydra.mode=RUN")
    asked = earlier(tmp_path, "model=zfnet", "+trainer.max_epochs=3", "seed=1", *places)
    found = resumed_command([asked, "trainer.max_epochs=9", "~callbacks.probe"])
    assert found == [
        *("model=zfnet", "seed=1", "trainer.max_epochs=9", "~callbacks.probe"),
        f"hydra.run.dir='{tmp_path}'",
    ]


def test_options_that_were_renamed_since_come_back_under_their_new_names(tmp_path: Path) -> None:
    asked = earlier(tmp_path, "probe.rule=guided", "+sanity.rules=[gradient]")
    assert resumed_command([asked])[:2] == ["probe.method=guided", "+sanity.methods=[gradient]"]
    assert resumed_command([asked, "probe.method=gradient"])[0] != "probe.method=guided"


def test_a_sweep_goes_on_as_a_sweep(tmp_path: Path) -> None:
    asked = earlier(tmp_path, "seed=1,2", sweep=True, flags=("--config-dir", "mine"))
    mine, rest = ["--config-dir", "mine"], ["seed=1,2", f"hydra.sweep.dir='{tmp_path}'"]
    assert resumed_command([asked, *mine]) == [*mine, "-m", *rest]
    assert resumed_command(["-m", asked, *mine]) == ["-m", *mine, *rest]


def test_last_is_the_newest_run_or_sweep_and_no_job_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no run was started here"):
        resumed_command(["resume=last"])
    folders = ["outputs/train/b", "outputs/sweep/a", "outputs/train/c", "outputs/sweep/a/job"]
    for age, folder in enumerate(folders):
        of_sweep = ["sweep=a"] if folder.endswith("job") else []
        earlier(Path(folder), f"seed={age}", *of_sweep)
        os.utime(tmp_path / folder / "command.json", (age, age))
    assert resumed_command(["resume=last"])[0] == "seed=2"


def test_last_is_found_wherever_the_run_was_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    earlier(tmp_path / "elsewhere" / "run", "seed=5")
    # A job is resumed with its sweep.
    earlier(tmp_path / "elsewhere" / "job", "seed=6", "sweep=s")
    expected = ["seed=5", f"hydra.run.dir='{tmp_path / 'elsewhere' / 'run'}'"]
    assert resumed_command(["resume=last"]) == expected
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no run was started here"):
        resumed_command(["resume=last"])
    # Where nothing can be noted, the run goes its way.
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    earlier(tmp_path / "elsewhere" / "run", "seed=5")


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        resumed_command([f"resume={tmp_path / 'nowhere'}"])
    with pytest.raises(UserError, match="not a run's folder"):
        resumed_command([f"resume={tmp_path}"])
    asked = earlier(tmp_path, "seed=1")
    with pytest.raises(UserError, match="a single run, which cannot be resumed as a sweep"):
        resumed_command(["-m", asked])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_goes_on_to_more_epochs_without_its_options_being_typed_again(
    tiny: list[str], tmp_path: Path
) -> None:
    first = command(*tiny, "scheduler=constant", "task.training_error_images=7", folder=tmp_path)
    assert first.returncode == 0, first.stderr
    (folder,) = (tmp_path / "outputs" / "train").iterdir()
    again = command("resume=last", "trainer.max_epochs=3", folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "Resuming from" in again.stdout
    result = json.loads((folder / "result.json").read_text())
    assert result["epochs"] == 3 and result["train/images_centre_crop"] == 7
    assert list((tmp_path / "outputs" / "train").iterdir()) == [folder]
