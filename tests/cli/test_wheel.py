"""The wheel does all that the checkout does, from any folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import zf_lightning
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout; nothing is downloaded to build it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return file


def test_it_holds_one_package_with_callbacks_and_configuration(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (points,) = (name for name in names if name.endswith("entry_points.txt"))
        commands = archive.read(points).decode()
    version = zf_lightning.__version__
    assert {name.split("/")[0] for name in names} == {
        "zf_lightning",
        f"zf_lightning-{version}.dist-info",
    }
    for folder in ("callbacks", "conf"):
        here = {file.relative_to(ROOT) for file in (ROOT / folder).rglob("*.[py]*[yl]")}
        there = {Path(name).relative_to("zf_lightning") for name in names if f"/{folder}/" in name}
        assert here and here <= there
    assert "zf_lightning/py.typed" in names
    assert "zf-lightning = zf_lightning.cli.main:main" in commands


@pytest.mark.slow
def test_the_main_job_runs_from_it_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    site, folder = tmp_path / "site", tmp_path / "empty"
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)

    def python(*arguments: str) -> str:
        # -P: what it starts in is not imported from; the other packages are this environment's.
        done = subprocess.run(
            [sys.executable, "-P", *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = python("-c", "import zf_lightning.callbacks as c; print(c.__file__)")
    assert Path(where.strip()).is_relative_to(site)
    said = python(
        *("-m", "zf_lightning", "data.images={train: 40, val: 20, test: 20}", "data.workers=0"),
        *("data.batch_size=8", "model.width=0.05", "model.input_size=70", "scheduler.epochs=1"),
        *("logger=csv", "hydra.run.dir=run"),
    )
    assert "ten crops  top-1 error" in said
    assert (folder / "run" / "report" / "index.html").exists()
    assert {file.name for file in folder.iterdir()} == {"run", "data"}
