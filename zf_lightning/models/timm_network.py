"""Networks of timm, by their names there, and how their published weights expect images.

timm is imported when one of them is asked for: it is an optional package.
"""

import difflib
from typing import Any

from torch import nn

from zf_lightning.errors import UserError

#: What timm's `resolve_data_config` takes where a network says nothing: ImageNet's, in 0..1.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
INPUT_SIZE = 224


def timm_network(name: str, num_classes: int, **options: Any) -> nn.Module:
    """An image classifier of timm with random weights; `options` are those of `timm.create_model`.

    A name may have a tag, as `resnet18.a1_in1k`: it decides nothing but `timm_preprocessing`.
    Raises UserError if timm has none of that name.
    """
    timm = _timm(name)
    network: nn.Module = timm.create_model(
        name.partition(".")[0], pretrained=False, num_classes=num_classes, **options
    )
    return network


def timm_preprocessing(name: str) -> dict[str, Any]:
    """`input_size` in pixels, and `mean` and `scale` in 0..255, that published weights expect.

    Those of the name's tag, or of the network's default weights.
    Raises UserError if timm has no network of that name, or no weights of that tag.
    """
    timm = _timm(name)
    try:
        found = timm.get_pretrained_cfg(name)
    except RuntimeError as problem:
        known = ", ".join(timm.list_pretrained(f"{name.partition('.')[0]}.*"))
        raise UserError(f"timm has no model.name={name}; it has {known}.") from problem
    mean, std, size = MEAN, STD, INPUT_SIZE
    if found is not None:
        mean, std = found.mean or mean, found.std or std
        size = max(found.input_size[1:]) if found.input_size else size
    return {
        "input_size": size,
        "mean": [round(255 * value, 3) for value in mean],
        "scale": [round(255 * value, 3) for value in std],
    }


def _timm(name: str) -> Any:
    """The package, if it has a network of that name."""
    try:
        import timm
    except ImportError as problem:
        raise UserError(
            "model=timm needs the package timm: in the checkout pip install -e '.[cli,timm]'."
        ) from problem
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"; it has {', '.join(close)}" if close else ""
        raise UserError(f"timm has no model.name={name}{hint}.")
    return timm
