"""A layer of an atlas as a picture."""

from PIL import Image

from zf_lightning.atlas import Atlas
from zf_lightning.figures.grid import class_caption, layer_panel
from zf_lightning.report.page import images_of


def atlas_panel(atlas: Atlas, layer: str) -> Image.Image:
    """The drawn feature maps of a layer: patches beside projections (Fig. 2)."""
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
        captions=[class_caption(atlas.class_names(layer, number)) for number in maps],
        title=f"{layer}{epoch}",
        subtitle=(
            f"{len(maps)} of {len(layer_atlas.activations)} feature maps, {top}: patches and their "
            f"{atlas.rule} projections; receptive field {height} by {width} pixels{clipped}"
        ),
    )
