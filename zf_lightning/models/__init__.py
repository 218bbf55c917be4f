"""Networks from layer specifications, and what the paper does to their weights."""

from zf_lightning.models.build import (
    build_convnet,
    check_input_scale,
    layer_table,
    parameter_count,
)
from zf_lightning.models.convnet import ConvNet
from zf_lightning.models.filter_renormalisation import filter_rms, renormalise_filters
from zf_lightning.models.initialisation import initialise
from zf_lightning.models.specification import (
    ContrastNormalisation,
    Convolution,
    FullyConnected,
    Pooling,
    apply_ablation,
)

__all__ = [
    "ContrastNormalisation",
    "ConvNet",
    "Convolution",
    "FullyConnected",
    "Pooling",
    "apply_ablation",
    "build_convnet",
    "check_input_scale",
    "filter_rms",
    "initialise",
    "layer_table",
    "parameter_count",
    "renormalise_filters",
]
