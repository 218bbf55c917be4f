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
from zf_lightning.data.sources.folds import FoldSource, WholeSet, whole_set
from zf_lightning.data.sources.imagenet import ImageNetSource
from zf_lightning.data.sources.scan import image_names
from zf_lightning.data.sources.shards import ShardSource
from zf_lightning.data.sources.torchvision_folders import TorchvisionFolders
from zf_lightning.data.sources.unlabelled import UnlabelledImages
from zf_lightning.data.sources.voc import MultiLabelFiles, VocSource
from zf_lightning.data.sources.without import SourceWithout, read_names

__all__ = [
    "SPLITS",
    "EmbeddedSource",
    "FoldSource",
    "FolderSource",
    "ImageNetSource",
    "ImageSource",
    "LabelledFiles",
    "LabelledImages",
    "MultiLabelFiles",
    "SampleKey",
    "ShardSource",
    "SourceWithout",
    "Split",
    "TorchvisionFolders",
    "UnlabelledImages",
    "VocSource",
    "WholeSet",
    "image_names",
    "read_names",
    "whole_set",
]
