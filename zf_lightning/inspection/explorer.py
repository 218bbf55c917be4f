"""What the page of task=explore shows of an image, as pictures and numbers."""

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from zf_lightning.analysis.exploration import probabilities_without, strongest_maps
from zf_lightning.analysis.squares import around, hide
from zf_lightning.atlas import Atlas
from zf_lightning.data.decode import load_image
from zf_lightning.deconv import Deconvnet, Units
from zf_lightning.errors import UserError
from zf_lightning.figures.canvas import as_pixels
from zf_lightning.figures.grid import map_picture, readable, tile_size
from zf_lightning.figures.style import distinct
from zf_lightning.inspection.subject import Subject, layers_asked
from zf_lightning.inspection.tile_files import atlas_file
from zf_lightning.report.panel import atlas_panel

#: Of tiles of the wall, and of the picture of one unit, in pixels.
TILE, WHOLE = 128, 448


@dataclass(frozen=True)
class Looked:
    """An image that was dropped: as the network takes it, and uint8 `[3, S, S]` for people."""

    inputs: Tensor
    display: Tensor


class Explorer:
    """A network, and how it is looked at; each call is of one image."""

    def __init__(self, subject: Subject, config: DictConfig) -> None:
        options = config.explore
        self.subject, self.options = subject, options
        self.deconvnet = Deconvnet(subject.network, method=options.method, norm=options.norm)
        self.layers = layers_asked(options.layers, self.deconvnet.graph)
        size = (subject.input_size, subject.input_size)
        self.deconvnet.receptive_fields(self.layers, size)
        self.names = distinct(subject.class_names)
        self.fill = subject.grey(options.grey)
        if options.atlas is not None and not Path(options.atlas).expanduser().exists():
            raise UserError(f"explore.atlas={options.atlas} does not exist.")

    def look(self, file: str | Path) -> Looked:
        """Read an image; raises UserError if there is none in the file."""
        pixels = load_image(file)[None]
        return Looked(self.subject.prepare(pixels), self.subject.display(pixels)[0])

    def maps(self, looked: Looked, layer: str) -> tuple[list[tuple[Image.Image, str]], Units]:
        """The strongest feature maps of a layer, each a picture and a caption, and their units."""
        found = strongest_maps(
            self.deconvnet, looked.inputs, looked.display, layer, k=self.options.maps
        )
        size = tile_size(*found.inside.shape[1:], largest=TILE)
        pictures = []
        for place, number in enumerate(found.units.feature_maps.tolist()):
            one = slice(place, place + 1)
            picture = map_picture(
                found.patches[one].numpy(),
                found.projections[one].numpy(),
                found.inside[one].numpy(),
                found.activations[one].numpy(),
                size,
            )
            value = readable(float(found.activations[place]))
            pictures.append((picture, f"map {number}: {value}"))
        return pictures, found.units

    def projected(self, looked: Looked, units: Units, place: int) -> Image.Image:
        """The whole image beside the projection of one of the units."""
        found = self.deconvnet.project(looked.inputs, units[place : place + 1])
        pixels = found.pixels.cpu().float().numpy()
        whole = np.ones((1, *pixels.shape[2:]), bool)
        values = found.activations.cpu().float().numpy()
        size = tile_size(*pixels.shape[2:], largest=WHOLE)
        return map_picture(looked.display[None].numpy(), pixels, whole, values, size)

    def atlas_entry(self, layer: str, feature_map: int) -> Image.Image | None:
        """What excites a feature map in the images of `explore.atlas`; None if that has no tiles.

        Raises UserError if there is no atlas of the layer.
        """
        path = atlas_file("explore.atlas", self.options.atlas, layer, feature_map)
        atlas = None if path is None else _atlas(path)
        found = None if atlas is None else atlas.layers.get(layer)
        if atlas is None or found is None or feature_map not in found.drawn.tolist():
            return None
        return atlas_panel(replace(atlas, layers={layer: found.select([feature_map])}), layer)

    def hidden(
        self, looked: Looked, row: float, column: float, size: int
    ) -> tuple[Image.Image, dict[str, float]]:
        """The image with a square around a place hidden, and the probability of each class."""
        starts = around(torch.tensor([[row, column]]), size)
        shown = hide(looked.display[None].float(), starts, size, self.options.grey)
        found = probabilities_without(
            self.subject.network, looked.inputs, (row, column), size, self.fill
        )
        picture = Image.fromarray(as_pixels(shown[0].to(torch.uint8).numpy()))
        return picture, dict(zip(self.names, found.tolist(), strict=True))


@functools.lru_cache(maxsize=2)
def _atlas(path: Path) -> Atlas:
    return Atlas.load(path)
