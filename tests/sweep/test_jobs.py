"""What a sweep that is started again finds in its folder."""

import os
import signal
import sys
import threading
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from zf_lightning.errors import UserError
from zf_lightning.sweep import Job, jobs
from zf_lightning.sweep.jobs import _check_same_job, configuration_flags


def job(folder: Path, *overrides: str, start: str = "second", number: int = 0) -> Job:
    return Job(folder, overrides, start, number)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert Job.read(tmp_path) is None
    written = Job(tmp_path, ("seed=1", "data.exclude=[a,b]"), "start", 3, -9)
    written.write()
    assert Job.read(tmp_path) == written
    assert written.result is None


def test_the_same_job_goes_on_and_another_is_refused(tmp_path: Path) -> None:
    earlier = job(tmp_path, "seed=1", "model=zfnet", start="first", number=4)
    _check_same_job(earlier, job(tmp_path, "model=zfnet", "seed=1"))
    with pytest.raises(UserError, match=r"recorded: seed=1; now: seed=2\): start the sweep with"):
        _check_same_job(earlier, job(tmp_path, "model=zfnet", "seed=2"))


def test_two_jobs_of_one_sweep_have_folders_of_their_own(tmp_path: Path) -> None:
    first = job(tmp_path, "seed=1", number=0)
    with pytest.raises(UserError, match="Two jobs of this sweep have the same folder"):
        _check_same_job(first, job(tmp_path, "seed=1", number=1))
    # A queue that stopped a job and put it back into line starts the same one again.
    _check_same_job(first, job(tmp_path, "seed=1", number=0))


def test_jobs_are_composed_from_what_the_sweep_was() -> None:
    sources = [{"provider": "main", "path": "pkg://conf"}]
    hydra = {"job": {"config_name": "config"}, "runtime": {"config_sources": sources}}
    assert configuration_flags(OmegaConf.create(hydra)) == []
    sources.append({"provider": "command-line", "path": "/home/me/mine"})
    hydra["job"] = {"config_name": "other"}
    flags = configuration_flags(OmegaConf.create(hydra))
    assert flags == ["--config-name", "other", "--config-dir", "/home/me/mine"]


@pytest.mark.parametrize(("seconds", "ends_itself"), [(0.5, True), (100, False)])
def test_an_interrupted_sweep_waits_for_its_job_and_then_ends_it(
    seconds: float, ends_itself: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PATIENCE", 5.0 if ends_itself else 0.1)
    # Says its number when it can be interrupted, as the parent is by the same key.
    program = (
        "import os, pathlib, time; pathlib.Path('started').write_text(str(os.getpid())); "
        f"time.sleep({seconds}); pathlib.Path('ended').touch()"
    )

    def interrupt() -> None:
        while not (tmp_path / "started").exists():
            threading.Event().wait(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        jobs._run([sys.executable, "-c", program], dict(os.environ), tmp_path, None)
    assert (tmp_path / "ended").exists() == ends_itself
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "started").read_text()), 0)
