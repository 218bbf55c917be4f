"""What is legal in `conf/` for the tasks that look into a network; see `schema.py`."""

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass
class Occlusion:
    layer: str | None = MISSING
    size: int | None = MISSING
    stride: int | None = MISSING
    grey: float = MISSING
    batch_size: int = MISSING
    windows: bool = MISSING
    atlas: str | None = MISSING


@dataclass
class Correspondence:
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
class Invariance:
    layers: list[str] | None = MISSING
    vertical_translation: Values | None = MISSING
    scale: Values | None = MISSING
    rotation: Values | None = MISSING
    grey: float = MISSING
    batch_size: int = MISSING


@dataclass
class Evolution:
    layers: list[str] | None = MISSING
    epochs: list[int] | None = MISSING
    maps: int = MISSING
    threshold: float = MISSING


@dataclass
class Filters:
    compare: str | None = MISSING
    rms_limit: float = MISSING
    images: int = MISSING
