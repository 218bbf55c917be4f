"""A run that is killed again and again, at any moment, and moved: `pytest -m slow`."""

import json
import os
import random
import shutil
import signal
import time
from contextlib import suppress
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from tests.commands.forked import run_forked, start_forked
from tests.runs import CLOCKS, rows, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
#: More than the time between the kills, all together, lets a run see.
EPOCHS = 60
#: Of `result.json`: what tells of clocks and of places.
OTHERS = (*CLOCKS, "checksum", "ckpt", "overrides", "train/seconds")


@pytest.mark.parametrize(("devices", "kills"), [(1, 20), (2, 10)])
def test_it_ends_as_if_nothing_had_been(
    devices: int, kills: int, tiny: list[str], tmp_path: Path
) -> None:
    options = [
        *tiny,
        "data.batch_size=4",
        f"data.workers={2 - devices}",
        f"trainer.devices={devices}",
        f"trainer.max_epochs={EPOCHS}",
        "trainer.log_every_n_steps=1",
        "callbacks.last_checkpoint.steps=1",
        "optimizer.lr=0.001",
        "probe.maps=1",
        "probe.top=2",
        "probe.every_n_epochs=4",
    ]
    run_forked(tmp_path, [*options, "hydra.run.dir=whole"])
    folder = tmp_path / "killed"
    drawn = random.Random(devices)
    arguments = [*options, "hydra.run.dir=killed"]
    done = 0
    while done < kills:
        before = written(folder)
        process = start_forked(tmp_path, arguments, group=True)
        assert process.pid is not None
        # At any moment of the next epoch, which nothing but a checkpoint shows from outside; every
        # fifth time already while it starts.
        if done % 5 and folder.exists():
            wait_for(partial(has_gone_on, process, folder, before))
        time.sleep(drawn.uniform(0, 1.5))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL, (tmp_path / "printed.txt").read_text()[-3000:]
        done += 1
        if folder.exists() and (folder / "command.json").exists():
            arguments = [f"resume={folder}"]
            if done == kills // 2:
                folder = Path(shutil.move(folder, tmp_path / "moved"))
                arguments = [f"resume={folder}"]
    assert folder.name == "moved" and not (folder / "result.json").exists()
    run_forked(tmp_path, arguments)
    for name in ("last", "best"):
        expected, found = (
            torch.load(where / "checkpoints" / f"{name}.ckpt")["state_dict"]
            for where in (tmp_path / "whole", folder)
        )
        assert all(torch.equal(found[key], value) for key, value in expected.items()), name
    expected_result, found_result = (
        json.loads((where / "result.json").read_text()) for where in (tmp_path / "whole", folder)
    )
    for key, value in expected_result.items():
        assert key in OTHERS or found_result[key] == value, key
    # A step whose checkpoint was written just before a kill may lack its row, and nothing else.
    expected_rows, found_rows = (
        {row["step"]: row for row in rows(where)} for where in (tmp_path / "whole", folder)
    )
    assert len(expected_rows) - len(found_rows) <= done
    assert all(expected_rows[step] == row for step, row in found_rows.items())


def has_gone_on(process: BaseProcess, folder: Path, before: int) -> bool:
    """Whether a run has written a checkpoint since, or has ended."""
    return written(folder) != before or not process.is_alive()


def written(folder: Path) -> int:
    """When the checkpoint of a run was written last; 0 if never."""
    path = folder / "checkpoints" / "last.ckpt"
    return path.stat().st_mtime_ns if path.exists() else 0
