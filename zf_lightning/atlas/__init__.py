"""The strongest images of every feature map, their patches and their projections (Fig. 2)."""

from zf_lightning.atlas.build import ImageBatch, Scorer, build_atlas
from zf_lightning.atlas.file import Atlas, epoch_files
from zf_lightning.atlas.kept_images import KeptImages
from zf_lightning.atlas.layer import LayerAtlas, Mismatch
from zf_lightning.atlas.stream import FoundActivations
from zf_lightning.atlas.survey import ActivationSurvey, Distribution, Survey
from zf_lightning.atlas.top_activations import TopActivations, TopImages

__all__ = [
    "ActivationSurvey",
    "Atlas",
    "Distribution",
    "FoundActivations",
    "ImageBatch",
    "KeptImages",
    "LayerAtlas",
    "Mismatch",
    "Scorer",
    "Survey",
    "TopActivations",
    "TopImages",
    "build_atlas",
    "epoch_files",
]
