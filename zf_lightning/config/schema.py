"""What is legal in `conf/`: name, type and range of every option. Defaults stand in YAML.

A misspelt option, on the command line or in an overlay file, is an error when the configuration is
composed, and so is a value out of its range. Contents of nodes with a `_target_` are checked by
`target_options.py`, and against the signature of the target by `instantiate.py`.
"""

import ast
import functools
import importlib.util
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict

from zf_lightning.config import CONF
from zf_lightning.config.legal import (
    FLAG,
    MAX_SEED,
    OBJECT,
    TEXT,
    Kind,
    Number,
    Several,
    legal,
    several,
    whole,
)
from zf_lightning.config.target_options import TRAINER_OPTIONS
from zf_lightning.config.task_options import (
    METHODS,
    NORMS,
    SCORES,
    SPLITS,
    TASK_OPTIONS,
    TaskOptions,
)
from zf_lightning.results.metric_names import MONITORS

PIXELS = whole(1, 10_000)
SEED = whole(0, MAX_SEED)
#: Of an input, red, green and blue.
CHANNELS = several(Number(-1e6, 1e6), least=3, most=3)


@dataclass
class Pooling:
    kernel: int = legal(PIXELS)
    stride: int = legal(PIXELS)
    ceil_mode: bool = legal(FLAG, optional=True)  # The network's default: false.


@dataclass
class Convolution:
    maps: int = legal(whole(1, 100_000))
    kernel: int = legal(PIXELS)
    stride: int = legal(PIXELS)
    padding: int = legal(whole(0, 10_000))
    groups: int = legal(whole(1, 100_000))
    ceil_mode: bool = MISSING
    pool: Pooling | None = MISSING
    norm: bool = MISSING


@dataclass
class FullyConnected:
    units: int = legal(whole(1, 1_000_000))
    dropout: float = legal(Number(0, below=1))


@dataclass
class ContrastNormalisation:
    size: int = legal(whole(1, 100_000))
    alpha: float = legal(Number(0))
    beta: float = legal(Number(0, 100))
    k: float = legal(Number(above=0))


@dataclass
class Preprocessing:
    mean: Any = legal("pixel", "channel", "imagenet", "own", "none", CHANNELS)
    scale: Any = legal(
        *("std", "imagenet", "own", "none"), several(Number(1e-6, 1e6), least=3, most=3)
    )


@dataclass
class Model:
    name: str = legal(TEXT)
    network: Any = legal(OBJECT)
    weights: str | None = legal(TEXT, None)
    logits: Any = legal(TEXT, whole(), None)
    input_size: int | None = legal(PIXELS, None)
    width: float = legal(Number(0.001, 1000))
    initialisation: str = legal("paper", "he", "own")
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    contrast_normalisation: ContrastNormalisation = field(default_factory=ContrastNormalisation)
    convs: dict[str, Convolution | None] = MISSING
    fcs: dict[str, FullyConnected | None] = MISSING
    output: str = legal(Kind(str, "a layer's name of letters and digits", pattern=r"[^\W\d]\w*"))


@dataclass
class Ablation:
    convs: dict[str, Convolution | None] = field(default_factory=dict)
    fcs: dict[str, FullyConnected | None] = field(default_factory=dict)


@dataclass
class MaxBadFiles:
    train: float = legal(Number(0, below=1), whole(1))
    evaluation: float = legal(Number(0, below=1), whole(1))


@dataclass
class ImageSets:
    train: str = legal(TEXT)
    val: str = legal(TEXT)
    test: str = legal(TEXT)


@dataclass
class Data:
    name: str = legal(TEXT)
    root: str | None = legal(TEXT, None)
    batch_size: int = legal(whole(1, 1_000_000))
    workers: int | None = legal(whole(0, 1000), None)
    exclude: list[str] = legal(several(TEXT, least=0))
    validation_share: float = legal(Number(above=0, below=1))
    test_share: float = legal(Number(above=0, below=1))
    train_per_class: int | None = legal(whole(1), None)
    images: dict[str, int] = legal(Several((whole(1, 10**7),), mapping=True))
    download: bool = MISSING
    image_sets: ImageSets = field(default_factory=ImageSets)
    seed: int = legal(SEED)
    max_bad_files: MaxBadFiles = field(default_factory=MaxBadFiles)
    exclude_files: str | None = legal(TEXT, None)
    shuffle_window: int = legal(whole(1))
    cache_gb: float = legal(Number(above=0))
    storage_options: dict[str, Any] = legal(Kind(dict, "a mapping"))
    source: Any = legal(OBJECT)


@dataclass
class Scheduler:
    epochs: int = legal(whole(1, 1_000_000))
    interval: str = legal("epoch", "step")
    monitor: str | None = legal(*MONITORS, None)
    schedule: Any = legal(OBJECT)


@dataclass
class Probe:
    _target_: str = legal(TEXT)
    folder: str = legal(TEXT)
    seed: int = legal(SEED)
    layers: Any = legal(TEXT, several(TEXT))
    maps: Any = legal(whole(1), several(whole()), "all")
    top: int = legal(whole(1, 1_000_000))
    every_n_epochs: int = legal(whole(1))
    split: str = legal("val", "train")
    method: str = legal(*METHODS)
    norm: str = legal(*NORMS)
    cross_check: bool = MISSING
    keep_tiles: str = legal("last", "all")
    scores: Any = legal(several(*SCORES, least=0))
    score_every_n_epochs: int = legal(whole())


@dataclass
class Task:
    name: str = legal(*sorted(file.stem for file in (CONF / "task").glob("*.yaml")))
    training_error_images: int = legal(whole())


@dataclass
class Paths:
    data: str = legal(TEXT)
    cache: str = legal(TEXT)
    run: str = legal(TEXT)


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
    [(name, Any, legal(*TRAINER_OPTIONS.get(name, ()))) for name in trainer_arguments()],
)


@dataclass
class CommonOptions:
    seed: int = legal(SEED)
    ckpt: Any = legal(TEXT, several(TEXT), None)
    resume: str | None = legal(TEXT, None)
    trust: Any = legal(TEXT, several(TEXT, least=0), None)
    images: Any = legal(TEXT, whole(), several(TEXT, whole()), None)
    split: str = legal(*SPLITS)
    label: Any = legal(TEXT, whole(), None)
    landmarks: str | None = legal(TEXT, None)
    sweep: str | None = legal(TEXT, None)
    #: Set when a configuration has been composed: what the command line asked for.
    overrides: list[str] = MISSING
    task: Task = field(default_factory=Task)
    paths: Paths = field(default_factory=Paths)
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    ablation: dict[str, Ablation] = field(default_factory=dict)
    optimizer: Any = legal(OBJECT)
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


@functools.cache
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
        if option.metadata.get("list"):
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
