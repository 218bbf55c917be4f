"""Networks without pretraining: the same network trained on each fold alone, then tested.

Each fold has an ordinary training in a folder of its own, which can be resumed. The paper does not
say how it trained these. Here all training images of the fold are used for as many epochs as the
schedule has, and the last weights are tested: no image is held out to choose better ones, and the
test images decide nothing. Tests see one centre crop, as the frozen features do.
"""

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy
import torch
from omegaconf import DictConfig, OmegaConf, open_dict

from zf_lightning.analysis.transfer import Fold, Outcome, Score
from zf_lightning.config.instantiate import plain
from zf_lightning.config.options import overridden
from zf_lightning.data import WholeSet
from zf_lightning.errors import UserError
from zf_lightning.inspection.subject import file_loader
from zf_lightning.sweep import override_key
from zf_lightning.system.devices import ONE_DEVICE, asks_for_several, chosen_device
from zf_lightning.system.sealed import read_json, write_json
from zf_lightning.tasks import train
from zf_lightning.tasks.transfer.tables import FROM_SCRATCH, WHOLE_NETWORK
from zf_lightning.training.checkpoint import configuration_of, find_checkpoint, load_classifier

log = logging.getLogger(__name__)

#: Parts of a checkpoint's configuration that decide how its network is trained.
TRAINING = ("model", "ablation", "optimizer", "scheduler", "callbacks")
#: Callbacks that do not change what is learnt.
PASSIVE = (
    "fast_network",
    "best_checkpoint",
    "last_checkpoint",
    "probe",
    "input_wait",
    "finite",
    "failure",
    "artifacts",
    "timer",
    "progress",
)
#: Options of the trainer for where it computes, what is shown and what is tested; every other may
#: change what is learnt.
HARMLESS = (
    "accelerator",
    "devices",
    "num_nodes",
    "use_distributed_sampler",
    "default_root_dir",
    "limit_test_batches",
    "limit_predict_batches",
    "num_sanity_val_steps",
    "log_every_n_steps",
    "enable_checkpointing",
    "enable_model_summary",
    "enable_progress_bar",
    "profiler",
    "detect_anomaly",
)


@dataclass(frozen=True)
class Training:
    """A network to be trained on one fold."""

    per_class: int | None
    #: Which of the folds with as many training images, from 0 on, and of how many.
    number: int
    of: int
    fold: Fold
    folder: Path
    #: The configuration, as plain data.
    options: dict[str, Any]
    #: The options that decide the outcome; folders and loggers do not.
    decisive: dict[str, Any]

    @property
    def title(self) -> str:
        """For messages."""
        return f"{fold_key(self.per_class)} a class, fold {self.number + 1} of {self.of}"

    @property
    def done(self) -> Path:
        """The file with the decisive options, and the score once it is known."""
        return self.folder / "transfer.json"

    def read(self) -> Score | None:
        """The score of an earlier run; raises UserError if that had other decisive options."""
        try:
            stored = read_json(self.done)
        except FileNotFoundError:
            return None
        changed = _changed(stored["asked"], self.decisive)
        if changed:
            raise UserError(
                f"{self.folder} was trained with other options ({', '.join(changed)}): choose "
                "another folder for this run, hydra.run.dir=FOLDER, or delete that one."
            )
        return None if stored["score"] is None else Score(**stored["score"])

    def write(self, score: Score | None) -> None:
        """Keep the decisive options, and the score."""
        contents = {"asked": self.decisive, "score": None if score is None else vars(score)}
        write_json(self.done, contents, indent=None)


def fold_key(per_class: int | None) -> str:
    """The name of a number of training images in `folds.json` and folders."""
    return "split" if per_class is None else str(per_class)


def plan(
    config: DictConfig,
    images: WholeSet,
    folds: Mapping[int | None, Sequence[Fold]],
    path: Path,
) -> list[Training]:
    """One training for each of the folds, which were written to `path`; nothing is trained yet.

    Raises UserError for several devices, and where a fold's folder contains another training.
    """
    if asks_for_several(plain(config.trainer.devices)):
        # Each other process would run the whole task again.
        raise UserError(
            "transfer.from_scratch=true trains on one device: add trainer.devices=1, and let "
            "several machines take a fold each with different seeds."
        )
    found = []
    for per_class, several in folds.items():
        for number, fold in enumerate(several):
            key = fold_key(per_class)
            folder = Path(config.paths.run) / "from_scratch" / f"{key}_fold_{number}"
            options = fold_configuration(config, path, key, number, folder)
            decisive = _decisive(options) | {
                "images": images.files.content_key(),
                "train": fold.train.tolist(),
                "test": fold.test.tolist(),
            }
            training = Training(per_class, number, len(several), fold, folder, options, decisive)
            training.read()
            found.append(training)
    return found


def score(config: DictConfig, images: WholeSet, trainings: Sequence[Training]) -> list[Score]:
    """Train and test on every fold; the scores of those that are done are read."""
    found = []
    for training in trainings:
        one = training.read()
        if one is None:
            log.info(f"\nFrom scratch, {training.title}")
            training.write(None)
            train.run(OmegaConf.create(training.options))
            one = _test(config, images, training)
            training.write(one)
            log.info(f"From scratch, {training.title}: {one.accuracy:.1f} %")
        found.append(one)
    return found


def fold_configuration(
    config: DictConfig, path: Path, key: str, fold: int, folder: Path
) -> dict[str, Any]:
    """The configuration of an ordinary training on a fold, as plain data."""
    overrides = overridden(config)
    # An experiment says how its network is trained, whatever other network is inspected.
    if config.ckpt is not None and "experiment" not in map(override_key, overrides):
        passive = {name: config.callbacks.get(name) for name in PASSIVE}
        config = configuration_of(find_checkpoint(config.ckpt), config, overrides, parts=TRAINING)
        with open_dict(config):
            # These belong to this run and this machine.
            config.callbacks.update(passive)
    copied = OmegaConf.create(OmegaConf.to_yaml(config))
    assert isinstance(copied, DictConfig)
    config = copied
    with open_dict(config):
        config.paths.run = str(folder)
        config.task = {"name": "train"}
        config.ckpt = None
        config.model.weights = None
        config.sweep = config.sweep or folder.parents[1].resolve().name
        if config.trainer.devices in ONE_DEVICE:
            config.trainer.devices = 1
        config.data.source = {
            "_target_": "zf_lightning.data.FoldSource",
            "source": config.data.source,
            "folds": str(path),
            "per_class": key,
            "fold": fold,
        }
        # The folds were drawn without them.
        config.data.exclude_files = None
        config.callbacks.probe = None
        # The tables are the result; the weights of every fold would be uploaded.
        config.callbacks.artifacts = None
        # The last weights, not those that the training images would choose.
        config.callbacks.best_checkpoint = {
            "_target_": "zf_lightning.callbacks.FinalCheckpoint",
            "path": f"{folder}/checkpoints/best.ckpt",
        }
        if config.scheduler.monitor is None and OmegaConf.is_missing(
            config.trainer, "check_val_every_n_epoch"
        ):
            # Nothing waits for the errors on the training images.
            config.trainer.check_val_every_n_epoch = config.trainer.max_epochs
    options: dict[str, Any] = plain(config)
    return options


def _decisive(options: Mapping[str, Any]) -> dict[str, Any]:
    found = {part: options[part] for part in ("model", "ablation", "optimizer", "scheduler")}
    found |= {"seed": options["seed"], "batch_size": options["data"]["batch_size"]}
    found["data_seed"] = options["data"]["seed"]
    defaults = inspect.signature(lightning.Trainer).parameters
    found["trainer"] = {
        name: value
        for name, value in options["trainer"].items()
        if name not in HARMLESS and not (name in defaults and value == defaults[name].default)
    }
    found["callbacks"] = {
        name: node for name, node in options["callbacks"].items() if node and name not in PASSIVE
    }
    return found


def _changed(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """The parts of `asked` that a training in a folder, `stored`, had otherwise."""
    if "data_seed" not in stored:
        # Of 0.1.0, which noted less: compare what it did.
        trainer = {name: asked["trainer"].get(name) for name in stored["trainer"]}
        asked = {**asked, "trainer": trainer, "data_seed": None}
    return [part for part in asked if stored.get(part) != asked[part]]


@torch.inference_mode()
def _test(config: DictConfig, images: WholeSet, training: Training) -> Score:
    checkpoint = training.folder / "checkpoints" / "best.ckpt"
    # A run that was killed between the two has its last weights in the other alone.
    checkpoint = checkpoint if checkpoint.exists() else checkpoint.with_name("last.ckpt")
    device = chosen_device(config.trainer)
    classifier = load_classifier(checkpoint).eval().to(device)
    loader = file_loader(config, images.files.subset(training.fold.test))
    probabilities = torch.cat([classifier(batch.to(device)).cpu() for batch, *_ in loader]).numpy()
    return Score.of(
        (FROM_SCRATCH, WHOLE_NETWORK, training.per_class, training.number),
        training.fold,
        images.files.labels,
        Outcome(probabilities.argmax(1).astype(numpy.int64), probabilities),
        present=images.presence,
    )
