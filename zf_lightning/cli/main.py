"""What stands between `main.py` and a task: checks, clear messages, and jobs of a sweep."""

import contextlib
import importlib
import logging
import os
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from zf_lightning import sweep, tasks
from zf_lightning.cli.resume import resumed_command
from zf_lightning.config import schema
from zf_lightning.config.instantiate import check_target, plain, suggestion
from zf_lightning.errors import UserError
from zf_lightning.system.processes import claimed, first_process_reports, follow_parent
from zf_lightning.training.build import is_first_process

#: Options of several values, which may be written without brackets.
LISTS = frozenset({"ckpt", "transfer.per_class", "transfer.layers", "transfer.classifiers"})


def prepare() -> None:
    """Register what composing the configuration needs; called before Hydra starts.

    Replaces `resume=…` on the command line by the command of the run that it names.
    """
    sys.argv[1:] = resumed_command(sys.argv[1:])
    follow_parent()
    # Hydra then raises instead of printing a trace of its own: `clear_messages` makes sentences.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    # Loaded before they are needed, so that the sweep's callback finds its package; and for the
    # workers of a launcher, which start elsewhere.
    root = str(Path(__file__).parents[2])
    sys.path.insert(0, root)
    known = os.environ.get("PYTHONPATH", "")
    if root not in known.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, known)))
    add_plugins()
    schema.register()
    sys.argv[1:] = with_lists(sys.argv[1:])


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
    found = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        bare = "," in value and not any(character in value for character in "[]{}()'\"")
        found.append(f"{key}=[{value}]" if equals and key in LISTS and bare else argument)
    return found


@contextlib.contextmanager
def clear_messages() -> Iterator[None]:
    """Turn a user's mistake into one sentence and exit status 1; anything else keeps its trace."""
    try:
        yield
    except UserError as mistake:
        _fail(mistake.sentence)
    except MissingMandatoryValue as mistake:
        _fail(missing_message(str(mistake)))
    except (HydraException, OmegaConfBaseException) as mistake:
        if "Missing mandatory value" in str(mistake):
            _fail(missing_message(str(mistake)))
        _fail(composition_message(mistake))
    except ImportError as mistake:
        if "IS THE PLUGIN INSTALLED" not in str(mistake):
            raise
        _fail("This launcher needs a package more: pip install 'zf-lightning[launchers]'.")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception:
        _write_to_log_file("failed", with_trace=True)
        raise


def run(config: DictConfig, script: Path) -> None:
    """Run the task of `config`, or, in a sweep, hand the job to a process of its own."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        if "TORCHELASTIC_RUN_ID" in os.environ:
            raise UserError(
                "A sweep (-m) cannot run under torchrun, where every process would run it; start "
                "it with python main.py -m and set trainer.devices."
            )
        # What it raises ends the sweep, and is put into words where the sweep was started.
        sweep.run_job(config, script)
        return
    with clear_messages():
        _run_task(config)


def _run_task(config: DictConfig) -> None:
    _check_shared_folder()
    quieten()
    schema.check_keys(config)
    if config.seed < 0:
        raise UserError(f"seed={config.seed} must not be negative.")
    names = [module.name for module in pkgutil.iter_modules(tasks.__path__)]
    if config.task.name not in names:
        raise UserError(f"task.name={config.task.name} is not one of {', '.join(names)}.")
    check_target(plain(config))
    task = importlib.import_module(f"{tasks.__name__}.{config.task.name}")
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
        # A run that goes on in its folder is what we intend.
        r"Checkpoint directory .* exists and is not empty",
        # Values of an epoch are logged from counts of our own; there is no batch size to infer.
        r"It is recommended to use `self.log\(.*sync_dist=True\)`",
        # The loaders have as many workers as there are cores for them.
        r"The '.*_dataloader' does not have many workers",
        r"The number of training batches .* is smaller than the logging interval",
        # It decodes as before, and as fast as what is to replace it: zf_lightning/data/decode.py.
        r"The image decoding and encoding capabilities of TorchVision",
        # Lightning's own use of names that PyTorch has deprecated.
        r".*isinstance\(treespec, LeafSpec\).*",
    ):
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric.utilities.distributed").setLevel(logging.WARNING)
    if not is_first_process():
        # What is said is said by the first process.
        logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.accelerators.cuda").setLevel(logging.WARNING)


def composition_message(mistake: Exception) -> str:
    """One sentence for a configuration that cannot be composed."""
    text = f"{mistake} {mistake.__cause__ or ''}"
    unknown = re.search(r"Key '([^']+)' (?:is )?not in '?([\w]+)", text)
    if unknown:
        full = re.search(r"full_key: ([\w.]+)", text)
        key = full.group(1) if full else unknown.group(1)
        where, _, name = key.rpartition(".")
        return f"There is no option {key}{suggestion(name, schema.options_of(where)) or '.'}"
    missing = re.search(r"Could not find '([^']+)'", text)
    if missing and "/" in missing.group(1):
        group, _, option = missing.group(1).rpartition("/")
        choices = re.findall(r"^\t(\w+)$", text, re.MULTILINE)
        return (
            f"There is no {group}={option}{suggestion(option, choices) or '.'} "
            f"The choices are {', '.join(choices)}."
        )
    override = re.search(r"Could not override '([^']+)'", text)
    if override and "No match in the defaults list" in text:
        return f"There is no group {override.group(1)} of options to choose from."
    if mistake.__cause__ is not None:
        # "Error merging override data.batch_size=abc", and why.
        return " ".join(f"{mistake}: {str(mistake.__cause__).splitlines()[0]}".split())
    return " ".join(str(mistake).split())


def missing_message(text: str) -> str:
    """One sentence for an option without which nothing can be done."""
    found = re.search(r"Missing mandatory value: ([\w.]+)", text)
    key = found.group(1) if found else "An option"
    return f"{key} must be given: add {key}=… to the command."


def _fail(sentence: str) -> NoReturn:
    print(f"error: {sentence}", file=sys.stderr)
    _write_to_log_file(f"error: {sentence}")
    sys.exit(1)


def _write_to_log_file(message: str, *, with_trace: bool = False) -> None:
    """Into `run.log` alone: on the terminal it stands already."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            trace = sys.exc_info() if with_trace else None
            record = logging.LogRecord(__name__, logging.ERROR, __file__, 0, message, None, trace)
            handler.handle(record)
