"""Images, from files to what a network takes."""

from zf_lightning.data.batch import Batch
from zf_lightning.data.datamodule import ImageDataModule
from zf_lightning.data.loader import BatchLoader
from zf_lightning.data.pixel_statistics import PixelStatistics
from zf_lightning.data.preprocessing import Preprocessing
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
from zf_lightning.data.statistics import cached_statistics, compute_statistics

__all__ = [
    "SPLITS",
    "Batch",
    "BatchLoader",
    "EmbeddedSource",
    "FoldSource",
    "FolderSource",
    "ImageDataModule",
    "ImageNetSource",
    "ImageSource",
    "LabelledFiles",
    "LabelledImages",
    "MultiLabelFiles",
    "PixelStatistics",
    "Preprocessing",
    "SampleKey",
    "ShardSource",
    "SourceWithout",
    "Split",
    "TorchvisionFolders",
    "UnlabelledImages",
    "VocSource",
    "WholeSet",
    "cached_statistics",
    "compute_statistics",
    "image_names",
    "read_names",
    "whole_set",
]
