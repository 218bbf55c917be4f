"""Two processes on one device learn what one learns, and count each image once."""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from on_gpu.command import ROOT, Command

#: Relative difference of the weights, by the norms of each tensor, that rounding may leave.
TOLERANCE = 1e-3
GLOO = "{_target_: lightning.pytorch.strategies.DDPStrategy, process_group_backend: gloo}"


def run(options: argparse.Namespace) -> None:
    """Train and test twice, compare weights and counts; ends with an error if they differ."""
    gpu = options.device != "cpu"
    name = torch.cuda.get_device_name() if gpu else "CPU"
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        common = [
            *("model=zfnet_small", f"model.width={options.width / 4}", "logger=csv"),
            *("model.fcs.fc6.dropout=0", "model.fcs.fc7.dropout=0", "callbacks.probe=null"),
            *(
                f"model.input_size={options.input_size // 2}",
                f"trainer.max_epochs={options.epochs}",
            ),
            f"data.images={{train: {options.images}, val: 101, test: 103}}",
            *(f"data.root={place / 'drawn'}", f"paths.data={place}"),
            *(f"data.batch_size={options.batch_size}", "data.workers=1"),
            *(f"trainer.accelerator={'gpu' if gpu else 'cpu'}", "trainer.devices=1"),
        ]
        one = start([sys.executable, "main.py"], [*common, f"hydra.run.dir={place / 'one'}"])
        finish(one)
        port = free_port()
        finish(
            *(
                start(
                    [
                        *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2"),
                        *(f"--node-rank={number}", "--nproc-per-node=1"),
                        *("--master-addr=127.0.0.1", f"--master-port={port}", "main.py"),
                    ],
                    [
                        *(*common, f"hydra.run.dir={place / 'two'}", "trainer.num_nodes=2"),
                        f"trainer.strategy={GLOO}",
                    ],
                )
                for number in range(2)
            )
        )
        differences = compare(place / "one", place / "two")
        results = [json.loads((place / run / "result.json").read_text()) for run in ("one", "two")]
    worst = max(differences, key=differences.__getitem__)
    print(f"{name}: two processes on one device, gloo, {options.epochs} epochs of {options.images}")
    print(f"  largest relative difference of weights {differences[worst]:.1e} ({worst})")
    for key in ("val/images", "test/images", "test/top1_error", "test/loss"):
        print(f"  {key}: {results[0][key]:g} by one process, {results[1][key]:g} by two")
    if differences[worst] > TOLERANCE:
        raise SystemExit(f"error: the weights differ by more than {TOLERANCE}.")
    if [r["val/images"] for r in results] != [101, 101]:
        raise SystemExit("error: not each validation image counts once.")
    if [r["test/images"] for r in results] != [103, 103]:
        raise SystemExit("error: not each test image counts once.")


def start(command: list[str], overrides: list[str]) -> "subprocess.Popen[str]":
    """A process of the run, in the repository."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen([*command, *overrides], cwd=ROOT, env=environment, text=True, **pipes)


def finish(*processes: "subprocess.Popen[str]") -> None:
    """Wait for all; ends with what one of them said if it failed."""
    said = [process.communicate()[0] for process in processes]
    for process, words in zip(processes, said, strict=True):
        if process.returncode:
            raise SystemExit(f"error: a process ended with {process.returncode}:\n{words[-3000:]}")


def compare(one: Path, two: Path) -> dict[str, float]:
    """Relative difference of each tensor of weights."""
    first, second = (
        torch.load(run / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)[
            "state_dict"
        ]
        for run in (one, two)
    )
    return {
        name: float((second[name] - value).norm() / value.norm().clamp(min=1e-12))
        for name, value in first.items()
        if name.startswith("network.")
    }


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


COMMAND = Command(
    """Two processes on one device (two nodes of one device each, gloo) against one process: the
same weights to rounding without dropout, and each image counted once. Crops and mirroring are a
function of the image and the epoch, and so the same.""",
    run,
    {"batch_size": 32, "epochs": 2, "images": 320},
)
