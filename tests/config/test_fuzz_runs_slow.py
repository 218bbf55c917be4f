"""What a composition accepts is run: it ends, or says in one sentence why not."""

import random
from pathlib import Path

import pytest
from omegaconf import DictConfig

from tests.config.test_fuzz import overrides_of, ready, refused, with_override
from tests.conftest import Compose
from zf_lightning.cli.messages import clear_messages
from zf_lightning.tasks import train

RUNS = 200


@pytest.mark.slow
@pytest.mark.timeout(1800)
# Values at the edge of their range warn, as weights that vanish.
@pytest.mark.filterwarnings("default")
def test_two_hundred_runs(
    compose_config: Compose,
    bare: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Where places are named, as logger.csv.path=nope.
    monkeypatch.chdir(tmp_path)
    short = [f"trainer.limit_{part}_batches=1" for part in ("train", "val", "test")]
    base = ready(compose_config(*bare, *short, "trainer.max_epochs=1", "data.batch_size=4"))
    drawn = random.Random(0)
    asked = [one for one in overrides_of(base) if not one.startswith("paths.")]
    drawn.shuffle(asked)
    ran = trained = 0
    wrong: list[str] = []
    for override in asked:
        if refused(base, override):
            continue
        try:
            trained += ends(with_override(base, override), tmp_path / str(ran), capsys)
        except BaseException as problem:
            wrong.append(f"{override}: {problem!r}")
        ran += 1
        if ran == RUNS:
            break
    assert not wrong
    assert ran == RUNS and trained > RUNS / 2


def ends(config: DictConfig, folder: Path, capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether a run comes to its end; if not, it has said why in one sentence."""
    config.paths.run = str(folder)
    capsys.readouterr()
    try:
        with clear_messages():
            train.run(config)
    except SystemExit:
        said = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
        assert len(said) == 1, said
        return False
    return True
