"""What is legal in `conf/task/`: the options of each task; see `schema.py`."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

#: Of a field whose value may be a list, among others.
SEVERAL = {"several": True}


@dataclass
class TaskOptions:
    """Of a task that is not the one chosen: no option is legal."""


@dataclass
class Prepare(TaskOptions):
    out: str = MISSING
    format: str = MISSING
    quality: int = MISSING
    chunk_images: int = MISSING


@dataclass
class Atlas(TaskOptions):
    layers: Any = field(default=MISSING, metadata=SEVERAL)
    maps: Any = field(default=MISSING, metadata=SEVERAL)
    top: int = MISSING
    split: str = MISSING
    pictures: Any = field(default=MISSING, metadata=SEVERAL)
    method: str = MISSING
    norm: str = MISSING
    keep_images: bool = MISSING
    save_every: float = MISSING


@dataclass
class Sanity(TaskOptions):
    layer: str = MISSING
    units: int = MISSING
    images: int = MISSING
    split: str = MISSING
    methods: Any = field(default=MISSING, metadata=SEVERAL)
    norm: str = MISSING


@dataclass
class Faithfulness(TaskOptions):
    layers: Any = field(default=MISSING, metadata=SEVERAL)
    maps: int = MISSING
    images: int = MISSING
    split: str = MISSING
    methods: Any = field(default=MISSING, metadata=SEVERAL)
    norm: str = MISSING
    contrast: int = MISSING
    pairs: int = MISSING
    grey: float = MISSING
    tiles: int = MISSING


@dataclass
class Transfer(TaskOptions):
    per_class: Any = field(default=MISSING, metadata=SEVERAL)
    per_class_of: dict[str, Any] = MISSING
    folds: int = MISSING
    test_per_class: int = MISSING
    layers: Any = field(default=MISSING, metadata=SEVERAL)
    classifiers: Any = field(default=MISSING, metadata=SEVERAL)
    class_weight: str | None = MISSING
    pooled_size: int | None = MISSING
    from_scratch: bool = MISSING


@dataclass
class Predict(TaskOptions):
    root: str | None = MISSING
    crops: int = MISSING
    class_ids: str = MISSING


@dataclass
class Overlap(TaskOptions):
    root: str | None = MISSING
    threshold: float = MISSING


@dataclass
class Occlusion(TaskOptions):
    layer: str | None = MISSING
    size: int | None = MISSING
    stride: int | None = MISSING
    grey: float = MISSING
    batch_size: int = MISSING
    windows: bool = MISSING
    atlas: str | None = MISSING


@dataclass
class Correspondence(TaskOptions):
    layers: list[str] | None = MISSING
    parts: list[str] | None = MISSING
    size: int | None = MISSING
    grey: float = MISSING
    draws: int = MISSING
    rectified: bool = MISSING
    changed_only: bool = MISSING
    batch_size: int = MISSING


@dataclass
class Values:
    first: float = MISSING
    last: float = MISSING
    step: float = MISSING


@dataclass
class Invariance(TaskOptions):
    layers: list[str] | None = MISSING
    vertical_translation: Values | None = MISSING
    scale: Values | None = MISSING
    rotation: Values | None = MISSING
    grey: float = MISSING
    batch_size: int = MISSING


@dataclass
class Evolution(TaskOptions):
    layers: list[str] | None = MISSING
    epochs: list[int] | None = MISSING
    maps: int = MISSING
    threshold: float = MISSING


@dataclass
class Filters(TaskOptions):
    compare: str | None = MISSING
    rms_limit: float = MISSING
    images: int = MISSING


#: The options of each task, under the name of the task.
TASK_OPTIONS: dict[str, type[TaskOptions]] = {
    kind.__name__.lower(): kind for kind in TaskOptions.__subclasses__()
}
