"""Small image folders, and configurations composed as the command line composes them."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before wandb is imported anywhere: no test may reach for a server.
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
# No test may leave a note in the user's home.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp()

import numpy
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image

from zf_lightning.cli import main as command_line
from zf_lightning.config.compose import compose
from zf_lightning.results.result import write_result

ROOT = Path(__file__).parents[1]
Compose = Callable[..., DictConfig]


@pytest.fixture(autouse=True)
def _few_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def compose_config(tmp_path: Path) -> Compose:
    """Compose the configuration for overrides, with a run's folder in `tmp_path`."""
    return composing_in(tmp_path)


def composing_in(folder: Path) -> Compose:
    """What composes configurations with a run's folder in `folder`."""
    command_line.prepare()

    def composed(*overrides: str) -> DictConfig:
        config = compose(*overrides, folder=folder / "run")
        if not any(override.startswith("paths.data=") for override in overrides):
            config.paths.data = str(folder / "data")
        return config

    return composed


def write_images(folder: Path, count: int, *, hue: int, seed: int = 0) -> None:
    """Noisy pictures of one colour: easy to tell from those of another."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = numpy.random.default_rng([seed, hue])
    for number in range(count):
        pixels = generator.integers(0, 80, (40, 50, 3), dtype=numpy.uint8)
        pixels[..., hue] += 120
        Image.fromarray(pixels).save(folder / f"{number:03}.png")


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 20 small pictures each, one folder a class."""
    root = tmp_path_factory.mktemp("images")
    for hue, name in enumerate(("red", "green", "blue")):
        write_images(root / name, 20, hue=hue)
    return root


@pytest.fixture
def tiny(image_folder: Path, tmp_path: Path) -> list[str]:
    """Overrides for a run of seconds on `image_folder`."""
    return tiny_run(image_folder, tmp_path / "data")


@pytest.fixture
def bare(tiny: list[str]) -> list[str]:
    """Overrides for a run of a second, whose pictures nobody looks at."""
    return [*tiny, "callbacks.probe=null"]


def tiny_run(images: Path, data: Path) -> list[str]:
    """Overrides for a run of seconds on a folder of images."""
    return [
        "data=folder",
        f"data.root={images}",
        f"paths.data={data}",
        "data.batch_size=8",
        "data.workers=0",
        "model.width=0.05",
        "model.input_size=70",
        "logger=csv",
        "trainer.max_epochs=2",
    ]


@pytest.fixture(scope="session")
def trained_run(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one epoch on the small pictures; nobody may change it."""
    # Here: most tests need no Lightning, which takes seconds to import.
    from zf_lightning.tasks import train

    folder = tmp_path_factory.mktemp("trained")
    options = ["trainer.max_epochs=1", "callbacks.probe=null", "logger=none"]
    train.run(composing_in(folder)(*tiny_run(image_folder, folder / "data"), *options))
    return folder / "run"


def check_result(folder: Path, result: dict[str, Any]) -> None:
    """`result.json` of a run is `result`, as JSON has it."""
    found = (folder / "result.json").read_text()
    with tempfile.TemporaryDirectory() as other:
        assert found == write_result(Path(other), result).read_text()
