"""The command line: checks before a task is run, and jobs of a sweep.

Nothing here imports torch or Lightning before a task is run: mistakes are answered at once.
"""

import contextlib
import importlib
import logging
import os
import sys
import sysconfig
import warnings
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from zf_lightning import sweep
from zf_lightning.cli.help import help_text
from zf_lightning.cli.messages import clear_messages, missing_message
from zf_lightning.cli.resume import resumed_command
from zf_lightning.config import CONF, schema
from zf_lightning.config.check import check_arguments
from zf_lightning.config.compose import with_overrides
from zf_lightning.config.instantiate import check_target, plain
from zf_lightning.errors import UserError
from zf_lightning.system.compat import read_configurations_once, read_mode_from_command_line
from zf_lightning.system.processes import (
    claimed,
    first_process_reports,
    follow_parent,
    is_first_process,
)
from zf_lightning.tasks import TASKS

PACKAGE = Path(__file__).parents[1]


def main() -> None:
    """Run what the command line asks for; exits with 1 after a user's mistake."""
    if {"--help", "-h"} & set(sys.argv[1:]):
        name = Path(sys.argv[0]).name
        program = {"main.py": "python main.py", "__main__.py": "python -m zf_lightning"}
        try:
            print(help_text(CONF, program=program.get(name, name)), flush=True)
        except BrokenPipeError:
            # Whoever reads it, as `head`, has enough. Python would write the rest at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    with clear_messages():
        prepare()
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(run)()


def prepare() -> None:
    """Register what composing the configuration needs; called before Hydra starts.

    Replaces `resume=…` on the command line by the command of the run that it names.
    """
    sys.argv[1:] = resumed_command(sys.argv[1:])
    follow_parent()
    # Hydra then raises instead of printing a trace of its own: `clear_messages` makes sentences.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    _make_importable()
    add_plugins()
    read_mode_from_command_line()
    read_configurations_once()
    schema.register()
    sys.argv[1:] = with_lists(sys.argv[1:])
    check_arguments(sys.argv[1:])


def _make_importable() -> None:
    """Let processes that start elsewhere import this package, and all a user's own network."""
    root, known = str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")
    # An installed package is found anyway, and all of site-packages before the standard library
    # is not what a user asked for.
    if root != sysconfig.get_path("purelib") and root not in known.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, known)))
    for folder in (root, str(Path.cwd())):
        if folder not in sys.path:
            sys.path.append(folder)


def add_plugins() -> None:
    """Put our Hydra plugins where Hydra looks for them: before it does, which is once."""
    folder = str(Path(__file__).parent / "plugins")
    if folder not in sys.path:
        sys.path.append(folder)


def with_lists(arguments: Sequence[str]) -> list[str]:
    """A command line in which `transfer.per_class=15,30` says `transfer.per_class=[15,30]`.

    Hydra keeps bare commas for sweeps, where they stay what they are.
    """
    if {"-m", "--multirun"} & set(arguments):
        return list(arguments)
    lists = schema.list_options()
    found = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        bare = "," in value and not any(character in value for character in "[]{}()'\"")
        found.append(f"{key}=[{value}]" if equals and key in lists and bare else argument)
    return found


def run(config: DictConfig) -> None:
    """Run the task of `config`, or, in a sweep, hand the job to a process of its own."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        if "TORCHELASTIC_RUN_ID" in os.environ:
            raise UserError(
                "A sweep (-m) cannot run under torchrun, where every process would run it; start "
                "it without torchrun and set trainer.devices."
            )
        # What it raises ends the sweep, and is put into words where the sweep was started.
        try:
            sweep.run_job(config)
        except KeyboardInterrupt:
            folder = Path(HydraConfig.get().sweep.dir).absolute()
            print(f"Interrupted; resume the sweep with python main.py resume={folder}")
            raise
        return
    with clear_messages():
        _run_task(with_overrides(config, list(HydraConfig.get().overrides.task)))


def _run_task(config: DictConfig) -> None:
    _check_shared_folder()
    quieten()
    check_needed(config)
    check_target(plain(config))
    task = importlib.import_module(TASKS[config.task.name].module)
    if not is_first_process():
        # Under torchrun or srun the parent is no process of the run.
        ours = HydraConfig.get().job.name.startswith("train_ddp_process_")
        with first_process_reports() if ours else contextlib.nullcontext():
            task.run(config)
        return
    folder = Path(config.paths.run)
    with claimed(folder):
        hydra = HydraConfig.get()
        command = sweep.command_of(
            flags=sweep.configuration_flags(hydra),
            overrides=[*hydra.overrides.task, *hydra.overrides.hydra],
            sweep=False,
        )
        sweep.record_command(folder, command)
        task.run(config)


def check_needed(config: DictConfig) -> None:
    """Raise UserError for an option without a default that the command line does not give."""
    # A checkpoint brings data of its own.
    needed = [("data", "root")] if config.ckpt is None else []
    for part, key in (*needed, ("prepare", "out")):
        if part in config and OmegaConf.is_missing(config[part], key):
            raise UserError(missing_message(f"{part}.{key}"))


def _check_shared_folder() -> None:
    """Processes that were not started by Lightning need to be told their common folder."""
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1 or int(os.environ.get("SLURM_NTASKS", 1)) > 1
    overrides = HydraConfig.get().overrides.hydra
    if several and not any(o.startswith("hydra.run.dir=") for o in overrides):
        raise UserError(
            "Started by torchrun or srun, each process would make a folder of its own: give "
            "hydra.run.dir=FOLDER."
        )


def quieten() -> None:
    """Silence messages that a user can do nothing about; each with its reason."""
    for message in (
        # We count each sample once on any number of devices (`EpochSampler`).
        r"Using `DistributedSampler` with the dataloaders",
        r".*it is recommended to use `Trainer\(devices=1",
        # A run that is resumed in its folder is what we intend.
        r"Checkpoint directory .* exists and is not empty",
        # Values of an epoch are logged from counts of our own; there is no batch size to infer.
        r"It is recommended to use `self.log\(.*sync_dist=True\)`",
        # The loaders have as many workers as there are cores for them.
        r"The '.*_dataloader' does not have many workers",
        r"The number of training batches .* is smaller than the logging interval",
        # Lightning's own use of names that PyTorch has deprecated.
        r".*isinstance\(treespec, LeafSpec\).*",
    ):
        warnings.filterwarnings("ignore", message=message)
    for name in (
        "lightning.pytorch.utilities.rank_zero",
        "lightning.fabric.utilities.distributed",
        "lightning.pytorch.accelerators.cuda",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
    if not is_first_process():
        # What is said is said by the first process.
        logging.getLogger().setLevel(logging.WARNING)
