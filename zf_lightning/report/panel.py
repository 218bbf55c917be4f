"""A layer of an atlas as a picture."""

from PIL import Image

from zf_lightning.atlas import Atlas
from zf_lightning.figures.grid import class_caption, layer_panel
from zf_lightning.report.page import images_of


def atlas_panel(atlas: Atlas, layer: str) -> Image.Image:
    """The drawn feature maps of a layer: patches beside projections (Fig. 2)."""
    found = atlas.layers[layer]
    height, width = found.receptive_field
    clipped = ", larger than the image and cut to it" if found.clipped else ""
    epoch = "" if atlas.epoch is None else f", epoch {atlas.epoch + 1}"
    maps = found.drawn.tolist()
    top = f"the top {found.activations.shape[1]} {images_of(atlas.split)} of each"
    return layer_panel(
        found.patches.numpy(),
        found.projections.numpy(),
        found.inside.numpy(),
        found.activations[found.drawn].numpy(),
        feature_maps=maps,
        captions=[class_caption(atlas.class_names(layer, number)) for number in maps],
        title=f"{layer}{epoch}",
        subtitle=(
            f"{len(maps)} of {len(found.activations)} feature maps, {top}: patches and their "
            f"{atlas.rule} projections; receptive field {height} by {width} pixels{clipped}"
        ),
    )
