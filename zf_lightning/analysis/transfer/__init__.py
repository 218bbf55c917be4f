"""Transfer: linear classifiers on frozen layers, scored on other data (Sec. 5.2, 5.3)."""

from zf_lightning.analysis.transfer.classifiers import CLASSIFIERS, Outcome, fit_and_predict
from zf_lightning.analysis.transfer.evaluation import Score, ScoreFile, evaluate
from zf_lightning.analysis.transfer.features import FeatureCache
from zf_lightning.analysis.transfer.linear import Coordinates, from_features, from_gram
from zf_lightning.analysis.transfer.protocol import (
    Fold,
    average_precision,
    average_precisions,
    draw_folds,
    mean_class_accuracy,
)
from zf_lightning.analysis.transfer.readings import Readings, find_stages

__all__ = [
    "CLASSIFIERS",
    "Coordinates",
    "FeatureCache",
    "Fold",
    "Outcome",
    "Readings",
    "Score",
    "ScoreFile",
    "average_precision",
    "average_precisions",
    "draw_folds",
    "evaluate",
    "find_stages",
    "fit_and_predict",
    "from_features",
    "from_gram",
    "mean_class_accuracy",
]
