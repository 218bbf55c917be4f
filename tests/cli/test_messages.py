"""Messages that tell a user what to install."""

import re
import tomllib

import pytest
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from tests.conftest import ROOT
from zf_lightning.cli.messages import clear_messages


def test_a_launcher_that_is_not_installed_is_one_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # As of hydra/launcher=joblib without hydra-joblib-launcher.
    node = OmegaConf.create({"_target_": "hydra_plugins.not_installed.Launcher"})
    with pytest.raises(SystemExit), clear_messages():
        Plugins.instance()._instantiate(node)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: This launcher needs an extra package")


def test_every_pip_install_is_of_the_checkout_with_extras_that_exist() -> None:
    """The project's name is not registered on the package index."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = set(project["project"]["optional-dependencies"])
    files = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md"]
    files += [*(ROOT / "zf_lightning").rglob("*.py"), *(ROOT / "callbacks").rglob("*.py")]
    files += [*(ROOT / "conf").rglob("*.yaml")]
    found = 0
    for file in files:
        for argument in re.findall(r"pip install ((?:-e )?[\"'\w.\[\],-]+)", file.read_text()):
            named = re.findall(r"\[([\w,]+)\]", argument)
            assert not argument.strip("\"'").startswith("zf"), f"{file}: {argument}"
            assert all(extra in extras for names in named for extra in names.split(",")), file
            found += bool(named)
    assert found >= 4
