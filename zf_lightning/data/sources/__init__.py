"""Where images come from."""

from zf_lightning.data.sources.base import (
    SPLITS,
    ImageSource,
    LabelledFiles,
    SampleKey,
    Split,
)
from zf_lightning.data.sources.embedded import EmbeddedSource
from zf_lightning.data.sources.folder import FolderSource
from zf_lightning.data.sources.imagenet import ImageNetSource

__all__ = [
    "SPLITS",
    "EmbeddedSource",
    "FolderSource",
    "ImageNetSource",
    "ImageSource",
    "LabelledFiles",
    "SampleKey",
    "Split",
]
