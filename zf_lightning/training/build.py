"""The objects of a run, built from its configuration."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.plugins.io import CheckpointIO
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from omegaconf import DictConfig

from zf_lightning.config.instantiate import instantiate, plain
from zf_lightning.data import (
    ImageDataModule,
    ImageSource,
    PixelStatistics,
    SourceWithout,
    cached_statistics,
    read_names,
)
from zf_lightning.data.summary import summarise, summary_lines, write_summary
from zf_lightning.errors import UserError
from zf_lightning.models import (
    apply_ablation,
    check_input_scale,
    layer_table,
    load_weights,
    parameter_count,
    read_weights,
    timm_preprocessing,
)
from zf_lightning.sweep.names import override_key
from zf_lightning.system.cores import CORES_VARIABLE, available_cores, default_workers
from zf_lightning.system.devices import ACCELERATORS, chosen_device
from zf_lightning.system.processes import is_first_process
from zf_lightning.training.checkpoint_file import WholeCheckpointFile
from zf_lightning.training.loggers import forgiving
from zf_lightning.training.module import ImageClassifier
from zf_lightning.training.network import check_network

log = logging.getLogger(__name__)


def build_model_options(config: DictConfig) -> dict[str, Any]:
    """The network's options as plain data, the ablations applied in their order.

    The command line wins over them. Raises UserError for an option of a layer that they remove.
    """
    given = plain(config.model)
    model = given
    for name, ablation in plain(config.ablation).items():
        model = apply_ablation(model, ablation, name=f"ablation={name}")
    for key in map(override_key, config.get("overrides") or []):
        if key.startswith(("model.convs.", "model.fcs.")):
            _set_again(model, given, key)
    if model.get("network") is not None:
        model = _with_own_preprocessing(model)
    warning = check_input_scale(model["initialisation"], model["preprocessing"]["scale"])
    if warning:
        rank_zero_warn(warning)
    return model


def _with_own_preprocessing(model: dict[str, Any]) -> dict[str, Any]:
    """The options with what the network's published weights expect, where they say `own`."""
    preprocessing = model["preprocessing"]
    if model["input_size"] is not None and "own" not in preprocessing.values():
        return model
    if model["network"].get("_target_") != "zf_lightning.models.timm_network":
        raise UserError(
            "Only networks of timm know their own input: give model.input_size, "
            "model.preprocessing.mean and model.preprocessing.scale."
        )
    own = timm_preprocessing(model["network"]["name"])
    size = own["input_size"] if model["input_size"] is None else model["input_size"]
    chosen = {
        option: own[option] if value == "own" else value for option, value in preprocessing.items()
    }
    return {**model, "input_size": size, "preprocessing": chosen}


def _set_again(model: dict[str, Any], given: dict[str, Any], key: str) -> None:
    """Give `model` the value that the option `key`, as `model.convs.conv3.maps`, has in `given`."""
    *path, last = key.split(".")[1:]
    for part in path:
        model, given = model.get(part), given.get(part)  # type: ignore[assignment]
        if given is None:
            return
        if model is None:
            raise UserError(f"{key} is an option of a layer that an ablation removes.")
    if last in given:
        model[last] = given[last]
    else:
        model.pop(last, None)


def load_start(config: DictConfig, classifier: ImageClassifier) -> None:
    """Load `model.weights`, if given, into a network that is about to be trained.

    Raises UserError where they are of another network, or the network does not fit the classes.
    """
    path = config.model.weights
    model, classes = classifier.hparams["model"], len(classifier.class_names)
    check_network(classifier.network, input_size=model["input_size"], classes=classes)
    if path is not None:
        kept = load_weights(classifier.network, read_weights(path), path=path, classes=classes)
        replaced = f"; {', '.join(kept)} start anew, for other classes" if kept else ""
        log.info(f"Weights from {path}{replaced}")


def build_source(config: DictConfig) -> ImageSource:
    """The source of images, ready to be read."""
    if config.data.root is None:
        raise UserError(f"data={config.data.name} needs data.root=FOLDER.")
    source: ImageSource = instantiate(config.data.source)
    if config.data.get("exclude_files") is not None:
        source = SourceWithout(source, read_names(config.data.exclude_files))
    source.prepare()
    summary = summarise(source, name=config.data.name)
    log.info("\n".join(summary_lines(summary)))
    if is_first_process():
        write_summary(summary, Path(config.paths.run))
    return source


def build_datamodule(config: DictConfig, source: ImageSource) -> ImageDataModule:
    """The batches of a source."""
    return ImageDataModule(
        source,
        batch_size=config.data.batch_size,
        workers=config.data.workers,
        seed=config.data.seed,
        max_bad_files=plain(config.data.max_bad_files),
    )


def training_statistics(
    config: DictConfig, model: dict[str, Any], data: ImageDataModule
) -> PixelStatistics | None:
    """Mean image and spread of the training images, if the preprocessing asks for them."""
    preprocessing = model["preprocessing"]
    if preprocessing["mean"] not in ("pixel", "channel") and preprocessing["scale"] != "std":
        return None
    return cached_statistics(
        data.source.split("train"),
        Path(config.paths.cache),
        workers=default_workers(config.data.workers, at_most=None),
        progress=is_first_process(),
        bad_files=data.bad_files("train"),
    )


#: Options of the Trainer that a pass over all images must not heed.
_FOR_TRAINING = ("fast_dev_run", "overfit_batches", "limit_val_batches")


def build_trainer(config: DictConfig, *, callbacks: bool = True) -> lightning.Trainer:
    """Lightning's Trainer with the configuration's loggers and, if asked, callbacks.

    Raises UserError where Lightning refuses: devices that are not there, arguments that clash.
    """
    # What shows and what hastens a test; the others are for training.
    chosen = config.callbacks if callbacks else _named(config, "fast_network", "progress")
    return _build_trainer(config, plain(config.trainer), chosen, config.logger)


def build_inspection_trainer(config: DictConfig, *, alone: bool = False) -> lightning.Trainer:
    """Lightning's Trainer for passes over images that look into a network, each image once.

    In full precision, whatever the trainings compute in: activations are found again to 1e-4. The
    figures are logged in the end, not by the Trainer. `alone`: on one device, whatever the
    configuration says. Raises UserError as `build_trainer`.
    """
    given = {k: value for k, value in plain(config.trainer).items() if k not in _FOR_TRAINING}
    options = {**given, "precision": "32-true", "use_distributed_sampler": False}
    if alone and not isinstance(given["devices"], list):
        options |= {"devices": 1, "num_nodes": 1}
    return _build_trainer(config, options, _named(config, "failure", "progress"), {})


def _named(config: DictConfig, *callbacks: str) -> dict[str, Any]:
    return {name: config.callbacks.get(name) for name in callbacks}


def _build_trainer(
    config: DictConfig,
    given: Mapping[str, Any],
    callbacks: Mapping[str, Any],
    loggers: Mapping[str, Any],
) -> lightning.Trainer:
    options = {
        name: instantiate(value) if isinstance(value, dict) and "_target_" in value else value
        for name, value in given.items()
    }
    for name in ("callbacks", "logger"):
        if options.pop(name, None) is not None:
            raise UserError(f"trainer.{name} is not used: choose {name} with the group {name}=…")
    options.setdefault("default_root_dir", config.paths.run)
    if options.get("accelerator", "auto") in ACCELERATORS:
        chosen_device(options)
    plugins = options.get("plugins") or []
    plugins = plugins if isinstance(plugins, list) else [plugins]
    if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        options["plugins"] = [*plugins, WholeCheckpointFile()]
    chosen = dict(callbacks)
    if options.get("enable_progress_bar") is False:
        chosen["progress"] = None
    elif chosen.get("progress") is None:
        options["enable_progress_bar"] = False
    try:
        trainer = lightning.Trainer(
            **options,
            callbacks=[instantiate(node) for node in chosen.values() if node],
            logger=[forgiving(instantiate(node)) for node in loggers.values() if node] or False,
        )
    except UserError:
        raise
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as problem:
        raise UserError(f"trainer: {' '.join(str(problem).split())}") from problem
    if CORES_VARIABLE in os.environ:
        # A job's part of the machine, divided among its processes: Lightning would give each of
        # them the whole part.
        threads = max(1, available_cores() // max(1, trainer.num_devices))
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)
    return trainer


def describe_network(classifier: ImageClassifier, *, input_size: int) -> None:
    """Print the network's layers, output sizes and parameters."""
    rows = [("layer", "output", "parameters")]
    for name, shape, parameters in layer_table(classifier.network, input_size=input_size):
        size = " × ".join(str(number) for number in shape)
        rows.append((name, size, f"{parameters:,}" if parameters else ""))
    rows.append(("total", "", f"{parameter_count(classifier.network):,}"))
    for row in rows:
        log.info("  {:<12} {:>16} {:>14}".format(*row))
