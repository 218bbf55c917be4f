"""A sweep on a cluster: a SLURM of one node, on this machine, if its programs are installed."""

import csv
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.runs import command

#: Of Debian's packages munge, slurmctld, slurmd and slurm-client.
PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmstepd", "sinfo", "sbatch", "srun", "scontrol")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        os.geteuid() != 0 or any(shutil.which(program) is None for program in PROGRAMS),
        reason="needs root, and Debian's slurm-wlm",
    ),
]
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthInfo=socket={folder}/munge.sock
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES State=UP
"""


@contextmanager
def daemon(*arguments: str | Path) -> Iterator[None]:
    process = subprocess.Popen(list(map(str, arguments)), stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "slurm"
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    host, cores = socket.gethostname(), os.cpu_count()
    file = folder / "slurm.conf"
    with ExitStack() as taken:
        sockets = [taken.enter_context(socket.create_server(("", 0))) for _ in range(2)]
        ports = [one.getsockname()[1] for one in sockets]
    file.write_text(CONFIGURATION.format(folder=folder, host=host, cores=cores, ports=ports))
    monkeypatch.setenv("SLURM_CONF", str(file))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    munge = {"socket": "munge.sock", "key-file": key.name, "pid-file": "pid", "seed-file": "seed"}
    with ExitStack() as running:
        options = [f"--{option}={folder / name}" for option, name in munge.items()]
        log = f"--log-file={folder / 'munge.log'}"
        running.enter_context(daemon("munged", "--foreground", "--force", log, *options))
        running.enter_context(daemon("slurmctld", "-D"))
        stepd = shutil.which("slurmstepd")
        assert stepd is not None
        running.enter_context(daemon("slurmd", "-D", "-N", host, "-d", stepd))
        deadline = time.monotonic() + 60
        while "idle" not in subprocess.run(["sinfo"], capture_output=True, text=True).stdout:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        yield


def test_a_job_that_runs_out_of_time_is_queued_again_and_resumes(
    cluster: None, bare: list[str], tmp_path: Path
) -> None:
    quick = [option for option in bare if not option.startswith("trainer.max_epochs")]
    launcher = {
        # SLURM signals up to a minute before it was asked to.
        "timeout_min": "2",
        "signal_delay_s": "30",
        "cpus_per_task": "1",
        "gpus_per_node": "null",
        "mem_gb": "null",
    }
    done = command(
        *(
            "-m",
            "trainer.max_epochs=1,200",
            *quick,
            "optimizer.lr=0.001",
            "trainer.accelerator=cpu",
        ),
        *("hydra/launcher=submitit_slurm", f"hydra.sweep.dir={tmp_path / 'sweep'}"),
        *(f"hydra.launcher.{option}={value}" for option, value in launcher.items()),
        folder=tmp_path,
        timeout=1700,
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "sweep" / "sweep.csv").open(newline="") as file:
        rows = {row["trainer.max_epochs"]: row["state"] for row in csv.DictReader(file)}
    assert rows == {"1": "done", "200": "done"}
    long = tmp_path / "sweep" / "trainer.max_epochs=200"
    with (long / "metrics.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["val/loss"]]
    assert steps == sorted(set(steps)) and len(steps) == 200
    log = (long / "run.log").read_text()
    assert "timed-out" in log and "Resuming from" in log
