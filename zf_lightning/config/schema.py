"""What is legal in `conf/`: types and names of every option. Values and defaults stand in YAML.

A misspelt option, on the command line or in an overlay file, is an error when the configuration is
composed. Contents of nodes with a `_target_` are checked against the signature of the target, in
`zf_lightning.config.instantiate`.
"""

import ast
import importlib.util
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict

from zf_lightning.config.instantiate import suggestion
from zf_lightning.config.task_options import SEVERAL, TASK_OPTIONS, TaskOptions
from zf_lightning.errors import UserError


@dataclass
class Pooling:
    kernel: int = MISSING
    stride: int = MISSING
    ceil_mode: bool = MISSING


@dataclass
class Convolution:
    maps: int = MISSING
    kernel: int = MISSING
    stride: int = MISSING
    padding: int = MISSING
    groups: int = MISSING
    ceil_mode: bool = MISSING
    pool: Pooling | None = MISSING
    norm: bool = MISSING


@dataclass
class FullyConnected:
    units: int = MISSING
    dropout: float = MISSING


@dataclass
class ContrastNormalisation:
    size: int = MISSING
    alpha: float = MISSING
    beta: float = MISSING
    k: float = MISSING


@dataclass
class Preprocessing:
    mean: Any = field(default=MISSING, metadata=SEVERAL)
    scale: Any = field(default=MISSING, metadata=SEVERAL)


@dataclass
class Model:
    name: str = MISSING
    network: Any = MISSING
    weights: str | None = MISSING
    logits: Any = MISSING
    input_size: int | None = MISSING
    width: float = MISSING
    initialisation: str = MISSING
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    contrast_normalisation: ContrastNormalisation = field(default_factory=ContrastNormalisation)
    convs: dict[str, Convolution | None] = MISSING
    fcs: dict[str, FullyConnected | None] = MISSING
    output: str = MISSING


@dataclass
class Ablation:
    convs: dict[str, Convolution | None] = field(default_factory=dict)
    fcs: dict[str, FullyConnected | None] = field(default_factory=dict)


@dataclass
class MaxBadFiles:
    train: float = MISSING
    evaluation: float = MISSING


@dataclass
class ImageSets:
    train: str = MISSING
    val: str = MISSING
    test: str = MISSING


@dataclass
class Data:
    name: str = MISSING
    root: str | None = MISSING
    batch_size: int = MISSING
    workers: int | None = MISSING
    exclude: list[str] = MISSING
    validation_share: float = MISSING
    test_share: float = MISSING
    train_per_class: int | None = MISSING
    images: dict[str, int] = MISSING
    download: bool = MISSING
    image_sets: ImageSets = field(default_factory=ImageSets)
    seed: int = MISSING
    max_bad_files: MaxBadFiles = field(default_factory=MaxBadFiles)
    exclude_files: str | None = MISSING
    shuffle_window: int = MISSING
    cache_gb: float = MISSING
    storage_options: dict[str, Any] = MISSING
    source: Any = MISSING


@dataclass
class Scheduler:
    epochs: int = MISSING
    interval: str = MISSING
    monitor: str | None = MISSING
    schedule: Any = MISSING


@dataclass
class Probe:
    _target_: str = MISSING
    folder: str = MISSING
    seed: int = MISSING
    layers: Any = field(default=MISSING, metadata=SEVERAL)
    maps: Any = field(default=MISSING, metadata=SEVERAL)
    top: int = MISSING
    every_n_epochs: int = MISSING
    split: str = MISSING
    method: str = MISSING
    norm: str = MISSING
    keep_tiles: str = MISSING


@dataclass
class Task:
    name: str = MISSING
    training_error_images: int = MISSING


@dataclass
class Paths:
    data: str = MISSING
    cache: str = MISSING
    run: str = MISSING


def trainer_arguments() -> list[str]:
    """Names of the arguments of the installed `lightning.Trainer`.

    Read from its source: importing Lightning takes longer than all else that a command does before
    it knows whether its options exist.
    """
    package = importlib.util.find_spec("lightning")
    assert package is not None and package.origin is not None
    source = Path(package.origin).parent / "pytorch" / "trainer" / "trainer.py"
    (trainer,) = (
        node
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == "Trainer"
    )
    (made,) = (
        node
        for node in trainer.body
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )
    return [argument.arg for argument in (*made.args.args, *made.args.kwonlyargs)][1:]


#: Every argument of `lightning.Trainer` is a legal key of `trainer`.
Trainer = make_dataclass(
    "Trainer",
    [
        (name, Any, field(default=MISSING, metadata=SEVERAL if name == "devices" else None))
        for name in trainer_arguments()
    ],
)


@dataclass
class CommonOptions:
    seed: int = MISSING
    ckpt: Any = field(default=MISSING, metadata=SEVERAL)
    resume: str | None = MISSING
    trust: Any = field(default=MISSING, metadata=SEVERAL)
    images: Any = field(default=MISSING, metadata=SEVERAL)
    split: str = MISSING
    label: Any = MISSING
    landmarks: str | None = MISSING
    sweep: str | None = MISSING
    #: Set when a configuration has been composed: what the command line asked for.
    overrides: list[str] = MISSING
    task: Task = field(default_factory=Task)
    paths: Paths = field(default_factory=Paths)
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    ablation: dict[str, Ablation] = field(default_factory=dict)
    optimizer: Any = MISSING
    scheduler: Scheduler = field(default_factory=Scheduler)
    trainer: Trainer = field(default_factory=Trainer)  # type: ignore[valid-type]
    probe: Probe = field(default_factory=Probe)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)


#: All options; those of a task are there where its file in `conf/task/` brings them.
Config = make_dataclass(
    "Config",
    [(task, TaskOptions, field(default_factory=TaskOptions)) for task in TASK_OPTIONS],
    bases=(CommonOptions,),
)


def register() -> None:
    """Make the schema known to Hydra, under the names that files in `conf/` begin with."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for task, kind in TASK_OPTIONS.items():
        store.store(group="task_options", name=task, node=kind)


def drop_other_tasks(config: DictConfig) -> None:
    """Take out of a composed configuration what is there only to refuse other tasks' options."""
    with open_dict(config):
        for task in TASK_OPTIONS:
            if OmegaConf.get_type(config, task) is TaskOptions:
                del config[task]


def list_options(kind: Any = None, where: str = "") -> set[str]:
    """Names of the options whose values may be lists, as `transfer.per_class`."""
    found = set()
    for option in fields(kind or Config):
        name, value = f"{where}{option.name}", option.type
        if option.metadata.get("several") or "list[" in str(value):
            found.add(name)
        elif is_dataclass(value):
            found |= list_options(TASK_OPTIONS.get(name, value), f"{name}.")
    return found


def options_of(where: str) -> list[str]:
    """Names of the legal options at a place of the configuration, as `model.preprocessing`."""
    node: Any = Config
    for part in filter(None, where.split(".")):
        known = getattr(node, "__dataclass_fields__", {})
        node = known[part].type if part in known else None
        node = TASK_OPTIONS.get(part, node) if node is TaskOptions else node
    return list(getattr(node, "__dataclass_fields__", {}))


def check_keys(config: DictConfig, where: str = "") -> None:
    """Raise UserError for an option that was forced in with `+` although nothing reads it."""
    kind = OmegaConf.get_type(config)
    known = getattr(kind, "__dataclass_fields__", None)
    for key in map(str, config):
        name = f"{where}{key}"
        if known is not None and key not in known:
            raise UserError(f"There is no option {name}{suggestion(key, list(known)) or '.'}")
        if not OmegaConf.is_missing(config, key) and not OmegaConf.is_interpolation(config, key):
            value = config[key]
            if isinstance(value, DictConfig):
                check_keys(value, f"{name}.")
