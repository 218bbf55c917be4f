"""The options of each task; see `schema.py`."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from zf_lightning.config.legal import MANY, TEXT, Number, Several, legal, several, whole

SPLITS = ("train", "val", "test")
METHODS = ("deconvnet", "guided", "gradient")
NORMS = ("identity", "jacobian")
SCORES = ("alike", "squares", "quiz")
BATCH = whole(1, 1_000_000)
#: A size or a distance, in pixels of the network's input.
PIXELS = whole(1, 10_000)
#: Of pixels, 0..255.
GREY = Number(0, 255)
CHOSEN_MAPS = (whole(1), several(whole(), least=0), "all")
LAYERS = (TEXT, several(TEXT))


@dataclass
class TaskOptions:
    """Of a task that is not the one chosen: no option is legal."""


@dataclass
class Prepare(TaskOptions):
    out: str = legal(TEXT, optional=True)  # The task asks for it.
    format: str = legal("jpeg", "raw")
    quality: int = legal(whole(1, 100))
    # LitData's places in a chunk have 32 bits: 20,000 raw images.
    chunk_images: int = legal(whole(1, 20_000))


@dataclass
class Atlas(TaskOptions):
    layers: Any = legal(*LAYERS)
    maps: Any = legal(*CHOSEN_MAPS)
    top: int = legal(whole(1, 1_000_000))
    quantiles: Any = legal(several(Number(0, 1), least=0))
    split: str = legal(*SPLITS)
    pictures: Any = legal(*CHOSEN_MAPS)
    scores: Any = legal(several(*SCORES, least=0))
    scored: Any = legal(*CHOSEN_MAPS)
    method: str = legal(*METHODS)
    norm: str = legal(*NORMS)
    cross_check: bool = MISSING
    keep_images: bool = MISSING
    save_every: float = legal(Number(0))


@dataclass
class Sanity(TaskOptions):
    layer: str = legal(TEXT)
    units: int = legal(whole(1))
    images: int = legal(whole(1))
    split: str = legal(*SPLITS)
    methods: Any = legal(*METHODS, several(*METHODS))
    norm: str = legal(*NORMS)


@dataclass
class Faithfulness(TaskOptions):
    layers: Any = legal(*LAYERS)
    maps: int = legal(whole(1))
    images: int = legal(whole(1))
    split: str = legal(*SPLITS)
    methods: Any = legal(*METHODS, several(*METHODS))
    norm: str = legal(*NORMS)
    contrast: int = legal(whole(1))
    pairs: int = legal(whole(1, 1_000_000))
    grey: float = legal(GREY)
    tiles: int = legal(whole(1))


REPLACEMENTS = ("zero", "mean", "resample")


@dataclass
class Knockout(TaskOptions):
    layers: Any = legal(*LAYERS)
    maps: Any = legal(*CHOSEN_MAPS)
    images: int = legal(whole(2))
    split: str = legal(*SPLITS)
    replace: Any = legal(*REPLACEMENTS, several(*REPLACEMENTS))
    top: int = legal(whole(1))
    tiles: int = legal(whole(1))


@dataclass
class Quiz(TaskOptions):
    layers: Any = legal(*LAYERS)
    maps: int = legal(whole(1))
    images: int = legal(whole(1))
    split: str = legal(*SPLITS)
    method: str = legal(*METHODS)
    norm: str = legal(*NORMS)
    references: int = legal(whole(1))
    trials: int = legal(whole(1))
    people: int = legal(whole(0, 999))
    encoder: str | None = legal(TEXT, None)
    encoder_weights: str | None = legal(TEXT, None)


@dataclass
class Explore(TaskOptions):
    layers: Any = legal(*LAYERS)
    maps: int = legal(whole(1, 100))
    method: str = legal(*METHODS)
    norm: str = legal(*NORMS)
    grey: float = legal(GREY)
    classes: int = legal(whole(1))
    atlas: str | None = legal(TEXT, None)
    host: str = legal(TEXT)
    port: int = legal(whole(1, 65_535))


@dataclass
class Verify(TaskOptions):
    atlas: str | None = legal(TEXT, None)
    share: float = legal(Number(above=0, most=1))


#: Training images of each class.
PER_CLASS = (whole(1), several(whole(1)), "split", TEXT)


@dataclass
class Transfer(TaskOptions):
    per_class: Any = legal(*PER_CLASS)
    per_class_of: dict[str, Any] = legal(Several(PER_CLASS, 0, MANY, mapping=True))
    folds: int = legal(whole(1, 100_000))
    test_per_class: int = legal(whole(1))
    layers: Any = legal(*LAYERS)
    classifiers: Any = legal("softmax", "svm", several("softmax", "svm"))
    class_weight: str | None = legal("balanced", None)
    pooled_size: int | None = legal(PIXELS, None)
    from_scratch: bool = MISSING


@dataclass
class Predict(TaskOptions):
    root: str | None = legal(TEXT, None)
    crops: int = legal(1, 10)
    class_ids: str = legal("position", "devkit")


@dataclass
class Overlap(TaskOptions):
    root: str | None = legal(TEXT, None)
    threshold: float = legal(Number(above=0, most=1))


@dataclass
class Occlusion(TaskOptions):
    layer: str | None = legal(TEXT, None)
    size: int | None = legal(PIXELS, None)
    stride: int | None = legal(PIXELS, None)
    grey: float = legal(GREY)
    batch_size: int = legal(BATCH)
    windows: bool = MISSING
    atlas: str | None = legal(TEXT, None)


@dataclass
class Correspondence(TaskOptions):
    layers: list[str] | None = legal(several(TEXT), None)
    parts: list[str] | None = legal(several(TEXT), None)
    size: int | None = legal(PIXELS, None)
    grey: float = legal(GREY)
    draws: int = legal(whole(1, 1_000_000))
    rectified: bool = MISSING
    changed_only: bool = MISSING
    batch_size: int = legal(BATCH)


@dataclass
class Values:
    first: float = legal(Number(-10_000, 10_000))
    last: float = legal(Number(-10_000, 10_000))
    step: float = legal(Number(0.001, 10_000))


@dataclass
class Invariance(TaskOptions):
    layers: list[str] | None = legal(several(TEXT), None)
    vertical_translation: Values | None = MISSING
    scale: Values | None = MISSING
    rotation: Values | None = MISSING
    grey: float = legal(GREY)
    batch_size: int = legal(BATCH)


@dataclass
class Evolution(TaskOptions):
    layers: list[str] | None = legal(several(TEXT), None)
    epochs: list[int] | None = legal(several(whole(1)), None)
    maps: int = legal(whole(1))
    threshold: float = legal(Number(0, 1))


@dataclass
class Filters(TaskOptions):
    compare: str | None = legal(TEXT, None)
    rms_limit: float = legal(Number(above=0))
    images: int = legal(whole())


#: The options of each task, under the name of the task.
TASK_OPTIONS: dict[str, type[TaskOptions]] = {
    kind.__name__.lower(): kind for kind in TaskOptions.__subclasses__()
}
