"""A layer of an atlas as a picture."""

from collections.abc import Sequence

from PIL import Image

from zf_lightning.analysis.distributions import MapDistribution
from zf_lightning.analysis.map_scores import MEANINGS, in_words
from zf_lightning.atlas import Atlas
from zf_lightning.figures.grid import class_caption, layer_panel
from zf_lightning.report.page import images_of


def atlas_panel(atlas: Atlas, layer: str, described: Sequence[MapDistribution] = ()) -> Image.Image:
    """The drawn feature maps of a layer: patches beside projections (Fig. 2).

    Args:
        described: what is known of all images, for every feature map; may be empty.
    """
    layer_atlas = atlas.layers[layer]
    height, width = layer_atlas.receptive_field
    clipped = ", larger than the image and cut to it" if layer_atlas.clipped else ""
    epoch = "" if atlas.epoch is None else f", epoch {atlas.epoch + 1}"
    maps = layer_atlas.drawn.tolist()
    top = f"the top {layer_atlas.activations.shape[1]} {images_of(atlas.split)} of each"
    return layer_panel(
        layer_atlas.patches.numpy(),
        layer_atlas.projections.numpy(),
        layer_atlas.inside.numpy(),
        layer_atlas.activations[layer_atlas.drawn].numpy(),
        feature_maps=maps,
        captions=[_caption(atlas, layer, number, described) for number in maps],
        title=f"{layer}{epoch}",
        subtitle=(
            f"{len(maps)} of {len(layer_atlas.activations)} feature maps, {top}: patches and their "
            f"{atlas.rule} projections; receptive field {height} by {width} pixels{clipped}"
        ),
    )


def _caption(atlas: Atlas, layer: str, number: int, described: Sequence[MapDistribution]) -> str:
    """The classes of the images, scores, and how well the feature map detects its best class."""
    parts = [class_caption(atlas.class_names(layer, number))]
    found = atlas.layers[layer]
    scores = found.scores_of(found.drawn.tolist().index(number))
    parts += in_words(scores)
    # There is no room for more than four numbers.
    if described and len(scores) < len(MEANINGS):
        for best in described[number].classes[:1]:
            name = atlas.classes[best.label]
            parts.append(f"average precision {best.average_precision:.2f} for {name}")
    return "; ".join(filter(None, parts))
