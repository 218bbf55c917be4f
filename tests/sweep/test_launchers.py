"""Jobs of a sweep side by side on one machine, and on a cluster."""

import csv
import json
import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import submitit
from omegaconf import OmegaConf

from tests.conftest import ROOT
from tests.runs import command
from zf_lightning.sweep import DISTRIBUTED_VARIABLES
from zf_lightning.sweep.machine import jobs_at_once, share, share_of_machine
from zf_lightning.system.cores import CORES_VARIABLE, available_cores


def file(launcher: str) -> dict:
    """What our file for a launcher says."""
    options = OmegaConf.load(ROOT / "conf" / "hydra" / "launcher" / f"{launcher}.yaml")
    found = OmegaConf.to_container(options)
    assert isinstance(found, dict)
    return found


def test_how_many_jobs_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zf_lightning.sweep.machine.available_cores", lambda: 8)
    assert jobs_at_once({"_target_": "hydra._internal.core_plugins.BasicLauncher"}) is None
    joblib = file("joblib")
    assert jobs_at_once(joblib | {"n_jobs": 3}) == 3
    assert jobs_at_once(joblib | {"n_jobs": -1}) == 8
    local = file("submitit_local")
    assert jobs_at_once(local) == 1
    assert jobs_at_once(local | {"cpus_per_task": 3}) == 2
    assert jobs_at_once(local | {"cpus_per_task": 16}) == 1
    # A queue gives each job what it may use.
    assert jobs_at_once(file("submitit_slurm")) is None


def test_jobs_divide_cores_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zf_lightning.sweep.machine.available_cores", lambda: 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    parts = [share_of_machine(place, 2) for place in range(2)]
    assert [part["CUDA_VISIBLE_DEVICES"] for part in parts] == ["4,5", "6,7"]
    assert {part[CORES_VARIABLE] for part in parts} == {part["OMP_NUM_THREADS"] for part in parts}
    assert parts[0][CORES_VARIABLE] == "4"
    # More jobs than GPUs, and none at all.
    found = [share_of_machine(place, 6)["CUDA_VISIBLE_DEVICES"] for place in range(6)]
    assert found == ["4", "5", "6", "7", "4", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES" not in share_of_machine(0, 2)


def test_a_job_knows_its_part_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8))
    assert available_cores() == 8
    monkeypatch.setenv(CORES_VARIABLE, "3")
    assert available_cores() == 3
    monkeypatch.setenv(CORES_VARIABLE, "30")
    assert available_cores() == 8


def test_no_more_jobs_than_there_are_places(tmp_path: Path) -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def job() -> None:
        nonlocal running, most
        with share(tmp_path, 2):
            with lock:
                running += 1
                most = max(most, running)
            both.wait(timeout=20)
            with lock:
                running -= 1

    # Passed by two at a time: that they do run side by side is what it waits for.
    both = threading.Barrier(2)
    threads = [threading.Thread(target=job) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert most == 2 and running == 0


def test_a_job_of_slurm_is_not_taken_for_one_of_several_tasks() -> None:
    for variable in ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_ID"):
        assert DISTRIBUTED_VARIABLES.fullmatch(variable)
    for variable in ("SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", "CUDA_VISIBLE_DEVICES"):
        assert not DISTRIBUTED_VARIABLES.fullmatch(variable)


def test_the_batch_script_of_slurm_asks_for_what_the_configuration_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # submitit looks for the program, and does not start it to write a script.
    program = tmp_path / "srun"
    program.write_text("#!/bin/sh\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    asked = ["gpus_per_node=4", "cpus_per_task=32", "partition=gpu", "setup=[module load cuda]"]
    shown = subprocess.run(
        [
            *(sys.executable, str(ROOT / "main.py"), "hydra/launcher=submitit_slurm"),
            *(f"hydra.launcher.{option}" for option in asked),
            *("--cfg", "hydra", "--package", "hydra.launcher"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Warning" not in shown.stderr
    options = OmegaConf.create(shown.stdout)
    assert options.pop("_target_").endswith("SlurmLauncher")
    del options["submitit_folder"]
    # As the plugin hands them on.
    executor = submitit.AutoExecutor(
        tmp_path, cluster="slurm", slurm_max_num_timeout=options.pop("max_num_timeout")
    )
    common = ("timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb")
    common += ("nodes", "name", "stderr_to_stdout")
    values = OmegaConf.to_container(options)
    assert isinstance(values, dict)
    executor.update_parameters(
        **{str(k) if k in common else f"slurm_{k}": v for k, v in values.items()}
    )
    script = executor._executor._make_submission_file_text("python job.py", "uid")
    print(script)
    lines = re.findall(r"^#SBATCH --(.*)$", script, re.MULTILINE)
    expected = {"gpus-per-node=4", "cpus-per-task=32", "partition=gpu", "mem=32GB", "time=1440"}
    assert expected | {"nodes=1", "ntasks-per-node=1", "job-name=zf-lightning"} <= set(lines)
    assert any(line.startswith("signal=") and "@120" in line for line in lines)
    assert "\nmodule load cuda\n" in script


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("launcher", "options"),
    [("joblib", ["n_jobs=2"]), ("submitit_local", ["cpus_per_task=1"])],
)
def test_each_job_is_a_process_of_its_own_whatever_the_launcher(
    launcher: str, options: list[str], tiny: list[str], tmp_path: Path
) -> None:
    # The second of three fails: the others do not mind. With the default loggers.
    quick = [o for o in tiny if not o.startswith(("model.input_size", "logger="))]
    done = command(
        *("-m", "model.input_size=70,20,72", *quick, "trainer.max_epochs=1"),
        *("callbacks.probe=null", f"hydra/launcher={launcher}", "hydra.sweep.dir=sweep"),
        *(f"hydra.launcher.{option}" for option in options),
        folder=tmp_path,
        timeout=800,
    )
    assert done.returncode == 1, done.stderr
    with (tmp_path / "sweep" / "sweep.csv").open(newline="") as file:
        rows = {row["model.input_size"]: row["state"] for row in csv.DictReader(file)}
    assert rows == {"70": "done", "20": "FAILED (exit 1)", "72": "done"}
    results = [path.parent.name for path in sorted((tmp_path / "sweep").glob("*/result.json"))]
    assert results == ["model.input_size=70", "model.input_size=72"]
    for name in results:
        assert list((tmp_path / "sweep" / name / "wandb").glob("offline-run-*"))
    starts = {
        json.loads(path.read_text())["start"] for path in (tmp_path / "sweep").glob("*/job.json")
    }
    assert len(starts) == 1
