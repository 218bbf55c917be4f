"""Atlases of 0.1.0, which stored each tile by itself, and nothing compressed."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from zf_lightning.atlas.layer import LayerAtlas
from zf_lightning.atlas.levels import in_steps
from zf_lightning.atlas.on_disk import complete
from zf_lightning.deconv.locality import Pair

FORMAT_1 = "zf-lightning atlas 1"
NAMES = (
    *("activations", "indices", "labels", "rows", "columns", "windows", "nans"),
    *("drawn", "tiles", "patches", "peaks"),
)


def layers_of_1(
    tensors: Mapping[str, Tensor], headers: Mapping[str, Mapping[str, Any]], size: Pair
) -> dict[str, LayerAtlas]:
    """The layers of such a file; see `on_disk.layers_of`."""
    layers = {}
    for name, header in headers.items():
        found = {one: tensors[f"{name}/{one}"] for one in NAMES}
        # In float16, divided by their peaks.
        levels, steps, _ = in_steps(tensors[f"{name}/scaled_projections"])
        found |= {"levels": levels, "steps": steps}
        layers[name] = complete(name, header, {}, found, size)
    return layers
