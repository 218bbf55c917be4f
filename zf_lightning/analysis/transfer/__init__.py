"""Whether features generalise: frozen layers, a linear classifier on top (Sec. 5.2, 5.3)."""

from zf_lightning.analysis.transfer.average_precision import average_precision, average_precisions
from zf_lightning.analysis.transfer.classifiers import CLASSIFIERS, Outcome, fit_and_predict
from zf_lightning.analysis.transfer.evaluation import Score, ScoreFile, evaluate
from zf_lightning.analysis.transfer.features import FeatureCache, LayerFeatures
from zf_lightning.analysis.transfer.linear import Coordinates, from_features, from_gram, gram_matrix
from zf_lightning.analysis.transfer.protocol import (
    Fold,
    draw_folds,
    mean_and_spread,
    mean_class_accuracy,
)
from zf_lightning.analysis.transfer.readings import Readings, Stage, find_stages

__all__ = [
    "CLASSIFIERS",
    "Coordinates",
    "FeatureCache",
    "Fold",
    "LayerFeatures",
    "Outcome",
    "Readings",
    "Score",
    "ScoreFile",
    "Stage",
    "average_precision",
    "average_precisions",
    "draw_folds",
    "evaluate",
    "find_stages",
    "fit_and_predict",
    "from_features",
    "from_gram",
    "gram_matrix",
    "mean_and_spread",
    "mean_class_accuracy",
]
