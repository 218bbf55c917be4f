"""The wall of feature maps on a page: a picture of each, and what the page says of them.

The pictures are `report/maps/<layer>/<number>.webp`. What is said stands in `report/maps.js`: a
page that is opened from the disk may load a script, but may not read a JSON file.
"""

import json
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from zf_lightning.atlas import Atlas, LayerAtlas, epoch_files
from zf_lightning.figures.grid import (
    GUTTER,
    HAIRLINE,
    class_caption,
    map_picture,
    readable,
    tile_size,
    tiles_per_side,
)
from zf_lightning.report.page import images_of
from zf_lightning.system.cores import available_cores
from zf_lightning.system.files import write_whole

FOLDER, SCRIPT = "maps", "maps.js"
#: Of each feature map; a picture of more would be slow to load.
MOST_IMAGES = 25
#: Height and width of a tile in pixels: conv5 of ZFNet sees 139.
LARGEST_TILE = 144
#: Of the pictures, 0 to 100.
QUALITY = 80


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

    def add(self, atlas: Atlas) -> None:
        """Draw the feature maps of an atlas that have tiles."""
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
        with ThreadPoolExecutor(available_cores()) as threads:
            drawing = [
                future for name in atlas.layers for future in self._add(atlas, name, threads)
            ]
        for future in drawing:
            future.result()

    def write(self) -> None:
        """Write what the page says of the feature maps: from now on it shows them."""
        content = self._content | {
            "hairline": HAIRLINE,
            "gutter": GUTTER,
            "names": self._names,
            "layers": list(self._layers.values()),
        }
        write_whole(self._folder / SCRIPT, f"const wall = {json.dumps(content)};\n")

    def _add(self, atlas: Atlas, name: str, threads: ThreadPoolExecutor) -> list[Future[None]]:
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
        drawing = []
        for place, number in enumerate(found.drawn.tolist()):
            activations = found.activations[number, :most].numpy()
            # Behind the last of them nothing excites the map, or there were no more images.
            shown = 1 + max(
                np.flatnonzero(np.isfinite(activations) & (activations != 0)), default=-1
            )
            layer["maps"].append(
                {
                    "map": number,
                    "caption": class_caption(atlas.class_names(name, number)),
                    "activations": [readable(value) for value in activations[:shown].tolist()],
                    "images": found.indices[number, :shown].tolist(),
                    "labels": found.labels[number, :shown].tolist(),
                    "corners": found.windows[number, :shown, :2].tolist(),
                }
            )
            drawing.append(
                threads.submit(_draw, folder / f"{number}.webp", found, place, most, size)
            )
        return drawing


def _draw(path: Path, found: LayerAtlas, place: int, most: int, size: tuple[int, int]) -> None:
    scaled, peaks = found.scaled_projections[place, :most], found.peaks[place, :most]
    picture = map_picture(
        found.patches[place, :most].numpy(),
        (scaled.float() * peaks[:, None, None, None]).numpy(),
        found.inside[place, :most].numpy(),
        found.activations[found.drawn[place], :most].numpy(),
        size,
    )
    picture.save(path, "webp", quality=QUALITY, method=2)


def draw_last_epoch(run_folder: Path) -> None:
    """The wall of what a training's probe found last; nothing if it found nothing.

    Raises OSError and DamagedFile.
    """
    files = epoch_files(run_folder)
    if files:
        wall = MapWall(run_folder)
        wall.add(Atlas.load(files[-1]))
        wall.write()
