"""The wall of feature maps on a page: a picture of each, and what the page says of them.

The pictures are `report/maps/<layer>/<number>.webp`, of a training also `<number>_epochs.webp`, and
of an atlas `<number>_quantiles.webp`. What is said stands in `report/maps.js`: a page that is
opened from the disk may load a script, but may not read a JSON file.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zf_lightning.analysis import epochs_to_show
from zf_lightning.analysis.distributions import MapDistribution
from zf_lightning.analysis.evolution import settled_maps
from zf_lightning.analysis.map_scores import MEANINGS
from zf_lightning.atlas import Atlas, LayerAtlas, epoch_files
from zf_lightning.figures.grid import (
    GUTTER,
    HAIRLINE,
    class_caption,
    class_counts,
    map_picture,
    readable,
    tile_size,
    tiles_per_side,
)
from zf_lightning.report.over_all_images import NOT_KNOWN, over_all_images, row_over_all_images
from zf_lightning.report.page import images_of
from zf_lightning.system.cores import available_cores
from zf_lightning.system.files import write_whole

FOLDER, SCRIPT = "maps", "maps.js"
#: What a table says of a feature map, by column, its picture last; None where it is not known.
MapRow = dict[str, Any]
#: Of each feature map; a picture of more would be slow to load.
MOST_IMAGES = 25
#: Height and width of a tile in pixels: conv5 of ZFNet sees 139.
LARGEST_TILE = 144
#: Of the pictures, 0 to 100.
QUALITY = 70


class MapWall:
    """The drawn feature maps of one atlas, or of several with other layers or maps.

    A wall that was there before is removed: its maps need not be drawn any more.
    """

    def __init__(self, run_folder: Path) -> None:
        self._folder = run_folder / "report"
        (self._folder / SCRIPT).unlink(missing_ok=True)
        shutil.rmtree(self._folder / FOLDER, ignore_errors=True)
        self._content: dict[str, Any] = {}
        self._layers: dict[str, dict[str, Any]] = {}
        self._names: dict[int, str] = {}
        #: Of each feature map the classes of its images, with their numbers.
        self._classes: dict[tuple[str, int], str] = {}
        #: Of feature maps that were described, what a row says of all images.
        self._rows: dict[tuple[str, int], dict[str, Any]] = {}

    def add(
        self, atlas: Atlas, described: Mapping[str, Sequence[MapDistribution]] | None = None
    ) -> None:
        """Draw the feature maps of an atlas that have tiles.

        Args:
            described: what is known of all images, for every feature map of a layer.
        """
        self._content = {
            "size": atlas.input_size,
            "rule": atlas.rule,
            "norm": atlas.norm,
            # Counted from 1, as everywhere on a page.
            "epoch": None if atlas.epoch is None else atlas.epoch + 1,
            "images": images_of(atlas.split),
            "classes": atlas.classes,
        }
        self._names |= atlas.names
        _draw_all(call for name in atlas.layers for call in self._add(atlas, name))
        for name, maps in (described or {}).items():
            for one in self._layers[name]["maps"]:
                if "all" not in one:
                    of_map = maps[one["map"]]
                    one["all"] = over_all_images(of_map, atlas.classes)
                    self._rows[name, one["map"]] = row_over_all_images(of_map, atlas.classes)

    def add_examples(self, atlas: Atlas) -> None:
        """Draw the images at quantiles of maps that `add` has described, one below the other."""
        self._names |= atlas.names
        _draw_all(
            partial(self._draw_examples, name, one, found)
            for name, found in atlas.layers.items()
            for one in self._layers[name]["maps"]
            if one["map"] in found.drawn
        )

    def add_history(self, atlases: Sequence[Atlas]) -> None:
        """Draw the strongest image of each feature map after some epochs, one below the other.

        An atlas that has no tile of a feature map is left out of its history.
        """
        _draw_all(
            partial(self._draw_history, name, one, atlases)
            for name, layer in self._layers.items()
            for one in layer["maps"]
        )

    def add_settled(self, settled: Mapping[str, Sequence[int | None]]) -> None:
        """Say of each feature map the epoch at which it settled, if there was one."""
        for name, epochs in settled.items():
            for one in self._layers[name]["maps"]:
                one["settled"] = epochs[one["map"]]

    def write(self) -> None:
        """Write what the page says of the feature maps: from now on it shows them."""
        content = self._content | {
            "hairline": HAIRLINE,
            "gutter": GUTTER,
            "meanings": MEANINGS,
            "names": self._names,
            "layers": list(self._layers.values()),
        }
        write_whole(self._folder / SCRIPT, f"const wall = {json.dumps(content)};\n")

    def rows(self) -> list[MapRow]:
        """Each feature map, for a table to be sorted and filtered."""
        return [
            {
                "layer": name,
                "feature map": one["map"],
                "strongest activation": one["strongest"],
                "classes": self._classes[name, one["map"]],
                **self._rows.get((name, one["map"]), NOT_KNOWN),
                **{score: one["scores"].get(score, {}).get("mean") for score in MEANINGS},
                "settled at epoch": one.get("settled"),
                "picture": self._folder / FOLDER / name / f"{one['map']}.webp",
            }
            for name, layer in self._layers.items()
            for one in layer["maps"]
        ]

    def _add(self, atlas: Atlas, name: str) -> list[Callable[[], None]]:
        """Say what an atlas says of a layer; returns what draws it."""
        found = atlas.layers[name]
        most = min(found.patches.shape[1], MOST_IMAGES)
        size = tile_size(*found.patches.shape[-2:], largest=LARGEST_TILE)
        layer = self._layers.setdefault(
            name,
            {
                "name": name,
                "count": len(found.activations),
                "dead": int((found.activations[:, 0] <= 0).sum()),
                "field": found.receptive_field,
                "tile": size,
                "per_side": tiles_per_side(most),
                "maps": [],
            },
        )
        folder = self._folder / FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        drawing: list[Callable[[], None]] = []
        for place, number in enumerate(found.drawn.tolist()):
            activations = found.activations[number, :most].numpy()
            # Behind the last of them nothing excites the map, or there were no more images.
            shown = 1 + max(
                np.flatnonzero(np.isfinite(activations) & (activations != 0)), default=-1
            )
            layer["maps"].append(
                {
                    "map": number,
                    "strongest": float(activations[0]) if shown else 0.0,
                    "caption": class_caption(atlas.class_names(name, number)),
                    "activations": [readable(value) for value in activations[:shown].tolist()],
                    "images": found.indices[number, :shown].tolist(),
                    "labels": found.labels[number, :shown].tolist(),
                    "corners": found.windows[number, :shown, :2].tolist(),
                    "scores": {
                        score: {
                            "mean": round(value.mean, 2),
                            "error": None if value.error is None else round(value.error, 2),
                        }
                        for score, value in found.scores_of(place).items()
                    },
                }
            )
            self._classes[name, number] = class_counts(atlas.class_names(name, number))
            path = folder / f"{number}.webp"
            drawing.append(partial(_draw, path, found, place, most, size))
        return drawing

    def _draw_history(self, name: str, one: dict[str, Any], atlases: Sequence[Atlas]) -> None:
        number, size = one["map"], self._layers[name]["tile"]
        one["history"] = []
        pictures = []
        for atlas in atlases:
            found = atlas.layers.get(name)
            if found is None or number not in found.drawn:
                continue
            place = int((found.drawn == number).nonzero())
            pictures.append(_picture(found, place, slice(1), size))
            index, label = int(found.indices[number, 0]), int(found.labels[number, 0])
            self._names |= {index: atlas.names[index]} if index in atlas.names else {}
            activation = float(found.activations[number, 0])
            one["history"].append(
                {
                    "epoch": (atlas.epoch or 0) + 1,
                    "activation": readable(activation) if activation > 0 else "dead",
                    "image": index,
                    "label": label,
                }
            )
        self._save_strip(name, f"{number}_epochs", pictures)

    def _draw_examples(self, name: str, one: dict[str, Any], found: LayerAtlas) -> None:
        number, size = one["map"], self._layers[name]["tile"]
        place = int((found.drawn == number).nonzero())
        # Each with a grey scale of its own: the stronger ones would leave the weak ones grey.
        pictures = []
        for rank, example in enumerate(one["all"]["quantiles"]):
            pictures.append(_picture(found, place, slice(rank, rank + 1), size))
            example["label"] = int(found.labels[number, rank])
        self._save_strip(name, f"{number}_quantiles", pictures)

    def _save_strip(self, name: str, picture: str, parts: Sequence[Image.Image]) -> None:
        """Save some pictures of a layer as one, one below the other."""
        if not parts:
            return
        width, height = parts[0].size
        strip = Image.new("RGBA", (width, len(parts) * (height + HAIRLINE)))
        for place, part in enumerate(parts):
            strip.paste(part, (0, place * (height + HAIRLINE)))
        _save(self._folder / FOLDER / name / f"{picture}.webp", strip)


def draw_training(run_folder: Path) -> list[MapRow]:
    """The wall of what a training's probe found last, and the history of each of its maps.

    Returns its rows, none where it found nothing. Raises OSError and DamagedFile.
    """
    files = {int(file.stem.removeprefix("epoch=")): file for file in epoch_files(run_folder)}
    if not files:
        return []
    last, shown = max(files), epochs_to_show(list(files))
    atlases = {epoch: Atlas.load(files[epoch]) for epoch in {*shown, last}}
    wall = MapWall(run_folder)
    wall.add(atlases[last])
    wall.add_history([atlases[epoch] for epoch in shown])
    every = (atlases.get(epoch) or Atlas.load(files[epoch]) for epoch in sorted(files))
    wall.add_settled(settled_maps(every, atlases[last]))
    wall.write()
    return wall.rows()


def _picture(found: LayerAtlas, place: int, ranks: slice, size: tuple[int, int]) -> Image.Image:
    """Of a drawn feature map, some of its images."""
    # In NumPy: torch would start threads for each, and there are threads already.
    step_sizes = found.step_sizes[place, ranks].numpy()[:, None, None, None]
    return map_picture(
        found.patches[place, ranks].numpy(),
        found.levels[place, ranks].numpy() * step_sizes,
        found.inside[place, ranks].numpy(),
        found.activations[found.drawn[place], ranks].numpy(),
        size,
    )


def _draw_all(calls: Iterable[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(available_cores()) as threads:
        drawing = [threads.submit(call) for call in calls]
    for drawn in drawing:
        drawn.result()


def _draw(path: Path, found: LayerAtlas, place: int, most: int, size: tuple[int, int]) -> None:
    _save(path, _picture(found, place, slice(most), size))


def _save(path: Path, picture: Image.Image) -> None:
    picture.save(path, "webp", quality=QUALITY, method=2)
