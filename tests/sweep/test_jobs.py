"""What a sweep that is started again finds in its folder."""

from pathlib import Path

import pytest

from zf_lightning.errors import UserError
from zf_lightning.sweep import Job
from zf_lightning.sweep.jobs import _check_same_job


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
