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

__all__ = [
    "SPLITS",
    "EmbeddedSource",
    "FolderSource",
    "ImageSource",
    "LabelledFiles",
    "SampleKey",
    "Split",
]
