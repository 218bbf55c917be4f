"""Images, from files to what a network takes."""

from zf_lightning.data.batch import Batch
from zf_lightning.data.datamodule import ImageDataModule
from zf_lightning.data.loader import BatchLoader
from zf_lightning.data.pixel_statistics import PixelStatistics
from zf_lightning.data.preprocessing import Preprocessing
from zf_lightning.data.sources import (
    SPLITS,
    EmbeddedSource,
    FolderSource,
    FoldSource,
    ImageNetSource,
    ImageSource,
    LabelledFiles,
    LabelledImages,
    MultiLabelFiles,
    SampleKey,
    ShardSource,
    SourceWithout,
    Split,
    TorchvisionFolders,
    UnlabelledImages,
    VocSource,
    WholeSet,
    image_names,
    read_names,
    whole_set,
)
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
