"""Where images come from."""

from zf_lightning.data.sources.base import (
    SPLITS,
    ImageSource,
    LabelledFiles,
    LabelledImages,
    SampleKey,
    Split,
)
from zf_lightning.data.sources.embedded import EmbeddedSource
from zf_lightning.data.sources.folder import FolderSource
from zf_lightning.data.sources.imagenet import ImageNetSource
from zf_lightning.data.sources.shards import ShardSource
from zf_lightning.data.sources.torchvision_folders import TorchvisionFolders
from zf_lightning.data.sources.voc import MultiLabelFiles, VocSource

__all__ = [
    "SPLITS",
    "EmbeddedSource",
    "FolderSource",
    "ImageNetSource",
    "ImageSource",
    "LabelledFiles",
    "LabelledImages",
    "MultiLabelFiles",
    "SampleKey",
    "ShardSource",
    "Split",
    "TorchvisionFolders",
    "VocSource",
]
