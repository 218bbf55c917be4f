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
from zf_lightning.models.output import find_logits, giving_logits
from zf_lightning.models.specification import (
    ContrastNormalisation,
    Convolution,
    FullyConnected,
    Pooling,
    apply_ablation,
)
from zf_lightning.models.timm_network import timm_network, timm_preprocessing
from zf_lightning.models.torchvision_network import imagenet_class_names, torchvision_network
from zf_lightning.models.weights import classes_of, load_weights, read_weights

__all__ = [
    "ContrastNormalisation",
    "ConvNet",
    "Convolution",
    "FullyConnected",
    "Pooling",
    "apply_ablation",
    "build_convnet",
    "check_input_scale",
    "classes_of",
    "filter_rms",
    "find_logits",
    "giving_logits",
    "imagenet_class_names",
    "initialise",
    "layer_table",
    "load_weights",
    "parameter_count",
    "read_weights",
    "renormalise_filters",
    "timm_network",
    "timm_preprocessing",
    "torchvision_network",
]
