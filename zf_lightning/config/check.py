"""Checks of a command line and of what it composes: all that is known without PyTorch."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args

from omegaconf import DictConfig, OmegaConf

from zf_lightning.config.instantiate import plain, suggestion
from zf_lightning.config.legal import DOTTED, FLAG, OBJECT, Number, check_value
from zf_lightning.config.schema import Config, Data, Paths, Pooling, Probe
from zf_lightning.config.target_options import TARGET_OPTIONS
from zf_lightning.config.task_options import TASK_OPTIONS, TaskOptions, Values
from zf_lightning.errors import UserError

#: Groups of which exactly one choice is made, and those of which there may be several.
ONE = ("task", "model", "data", "optimizer", "scheduler", "trainer")
SEVERAL = ("ablation", "callbacks", "logger", "experiment")
#: Options of several tasks, and which read them.
_PICTURES = ("occlusion", "invariance", "filters", "correspondence")
READ_BY = {
    "ckpt": (
        *("test", "predict", "atlas", "evolution", "sanity", "faithfulness", "knockout"),
        *("quiz", "explore", "verify", "transfer", "overlap"),
        *_PICTURES,
    ),
    "images": _PICTURES,
    "split": _PICTURES,
    "label": _PICTURES,
    "landmarks": ("correspondence",),
}
#: Options of images that are read whatever their source.
OF_ALL_DATA = (
    *("data.name", "data.root", "data.source", "data.batch_size", "data.workers", "data.seed"),
    *("data.exclude_files", "data.max_bad_files"),
)
#: Options of networks whose layers are listed.
OF_LAYERS = ("model.width", "model.contrast_normalisation", "model.convs", "model.fcs")
#: Targets whose options are those of a part of the schema too.
ALSO = {"zf_lightning.callbacks.DeconvProbe": Probe, "zf_lightning.data.": Data}
#: Parts that are there with all of their options, or not at all.
WHOLE = (TaskOptions, Values, Probe, Paths, Pooling)
#: A name of a file of `conf/`, without its end.
CHOICE = re.compile(r"(?!(null|true|false|nan|inf)$)[A-Za-z_][\w./-]*", re.IGNORECASE)
#: Python reads no longer numbers.
DIGITS = re.compile(r"\d{1000}")


def check_arguments(arguments: Iterable[str]) -> None:
    """Check a command line for what Hydra answers with an exception of its own insides.

    Raises UserError for a choice that is not a name, or is made twice, and for endless numbers.
    """
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if DIGITS.search(argument):
            raise UserError(f"{key}={value[:20]}… is not possible: it has too many digits.")
        if key[:1] == "~" and key[1:] in ONE:
            raise UserError(f"{argument} is not possible: a run needs a choice of conf/{key[1:]}.")
        if not equals or key not in ONE + SEVERAL:
            continue
        names = [name.strip(" '\"") for name in value.strip("[] ").split(",")]
        several = value.startswith("[")
        if several and key in SEVERAL and names == [""]:
            continue
        if not all(map(CHOICE.fullmatch, names)) or (several and key in ONE):
            what = "a name" if key in ONE else "a name or a list of names"
            raise UserError(f"{key}={value[:60]} is not possible: it must be {what} of conf/{key}.")
        if several and len(set(names)) < len(names):
            raise UserError(f"{argument} names one twice.")


def check(config: DictConfig) -> None:
    """Raise UserError for the first option that does not exist or has a value out of its range."""
    values = plain(config)
    _check_fields(values, Config, "")
    for group in ("callbacks", "logger"):
        for name, node in values[group].items():
            check_value(f"{group}.{name}", node, (OBJECT, None))
    _check_rest(values, "")
    task = values["task"]["name"]
    for override in values.get("overrides", ()):
        key, _, value = override.partition("=")
        # What is not chosen beside a checkpoint is the checkpoint's.
        if not values["ckpt"]:
            _check_read(key.lstrip("+"), config, values)
        if task not in READ_BY.get(key, (task,)) and value != "null":
            hint = " (model.weights=FILE starts from weights)" if key == "ckpt" else ""
            raise UserError(f"task={task} does not read {key}: leave it out{hint}.")


def _check_read(key: str, config: DictConfig, values: Mapping[str, Any]) -> None:
    """Raise UserError for an option that exists, but that what was chosen does not read."""
    option = ".".join(key.split(".")[:2])
    if option.startswith("data.") and option not in OF_ALL_DATA:
        # What reads it says so by an interpolation.
        text = str(OmegaConf.to_container(config.data, resolve=False))
        if f"${{{option}" not in text:
            raise UserError(f"data={values['data']['name']} does not read {option}: leave it out.")
    if option in OF_LAYERS and values["model"].get("network"):
        raise UserError(f"{option} is of networks whose layers conf/model lists: leave it out.")
    if option == "scheduler.monitor":
        target = str(values["scheduler"]["schedule"]["_target_"])
        if not target.endswith("ReduceLROnPlateau"):
            raise UserError(f"{option} is read by scheduler=plateau alone: leave it out.")


def _check_fields(values: Mapping[str, Any], kind: Any, where: str) -> None:
    """Check the options that a dataclass of the schema declares, and those below them."""
    known = {one.name: one for one in fields(kind)}
    absent = [
        key for key, one in known.items() if key not in values and not one.metadata.get("optional")
    ]
    if absent and issubclass(kind, WHOLE):
        raise UserError(
            f"{where}{absent[0]} must be given: add {where}{absent[0]}=… to the command."
        )
    for key, value in values.items():
        name = f"{where}{key}"
        if key not in known:
            raise UserError(f"There is no option {name}{suggestion(key, list(known)) or '.'}")
        choices = known[key].metadata.get("legal")
        if choices:
            check_value(name, value, choices)
        _check_below(value, known[key].type, name)


def _check_below(value: Any, kind: Any, name: str) -> None:
    """Check a value whose declared type may be, or contain, a dataclass of the schema."""
    if not isinstance(value, dict):
        return
    if is_dataclass(kind):
        kind = TASK_OPTIONS.get(name, kind) if kind is TaskOptions else kind
        _check_fields(value, kind, f"{name}.")
        return
    inner = [one for one in get_args(kind) if one is not type(None)]
    if getattr(kind, "__origin__", None) is dict:
        for key, one in value.items():
            _check_below(one, inner[1], f"{name}.{key}")
    elif inner:
        _check_below(value, inner[0], name)


def _check_rest(node: Any, name: str) -> None:
    """Check what no dataclass declares: options of targets, and that all numbers are numbers."""
    if isinstance(node, list):
        for one in node:
            _check_rest(one, name)
    elif isinstance(node, dict):
        bounds = {**_bounds(str(node.get("_target_", ""))), "_target_": (DOTTED,)}
        for key, value in node.items():
            where = f"{name}.{key}".lstrip(".")
            if key in bounds:
                check_value(where, value, bounds[key])
            _check_rest(value, where)
    elif isinstance(node, int | float):
        check_value(name, node, (FLAG, Number(-1e18, 1e18)))


def _bounds(target: str) -> Mapping[str, tuple[Any, ...]]:
    kind = next((kind for name, kind in ALSO.items() if target.startswith(name)), None)
    own = {one.name: one.metadata.get("legal") for one in fields(kind)} if kind else {}
    found = next((b for name, b in TARGET_OPTIONS.items() if target.startswith(name)), {})
    return {key: choices for key, choices in (own | found).items() if choices}
