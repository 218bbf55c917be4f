"""Files of tiles: some feature maps of a layer each, projected by one process or another."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor
from tqdm import tqdm

from zf_lightning.atlas import Atlas, ImageBatch, Scorer, TopImages, build_atlas, epoch_files
from zf_lightning.atlas.room import BYTES_A_PIXEL
from zf_lightning.deconv import Deconvnet
from zf_lightning.deconv.receptive_field import ReceptiveField
from zf_lightning.errors import UserError
from zf_lightning.system.sealed import read_json

log = logging.getLogger(__name__)

#: Largest size of one file of tiles. The files are what is shared out among processes: whatever
#: their number, they are the same. ZFNet has about 18.
BLOCK_BYTES = 2**26


@dataclass(frozen=True)
class Tiles:
    """A sound file of task=atlas with the tiles of some feature maps of one layer."""

    path: Path
    #: How they were projected.
    rule: str
    norm: str
    #: How they were scored.
    scoring: str
    maps: list[int]
    #: int64 `[C, k]`: the images of every feature map.
    images: Tensor

    @classmethod
    def in_folder(cls, folder: Path, layer: str) -> "Iterator[Tiles]":
        """Those of a layer in the folder `atlas` of a run; damaged ones are removed."""
        # The index is written last: a file without one is incomplete.
        for index in sorted((folder / layer).glob("*-*.json")):
            path = index.with_suffix(".safetensors")
            try:
                read_json(index)
                atlas = Atlas.load(path)
            except (FileNotFoundError, UserError) as problem:
                log.warning(f"{problem} It is projected again.")
                index.unlink()
                path.unlink(missing_ok=True)
                continue
            found = atlas.layers[layer]
            how = (atlas.rule, atlas.norm, atlas.scoring)
            yield cls(path, *how, found.drawn.tolist(), found.indices)

    def remove(self) -> None:
        """Delete the file and its index."""
        self.path.with_suffix(".json").unlink()
        self.path.unlink(missing_ok=True)


def atlas_file(option: str, asked: str, layer: str, feature_map: int) -> Path | None:
    """The atlas file with a feature map's tiles; None if it has none.

    `asked`, the value of `option`, is a file, the folder of task=atlas, or that of a training run
    (its last epoch). Raises UserError if it contains no atlas of the layer.
    """
    path = Path(asked).expanduser()
    if path.is_file():
        return path
    indexed = {tiles.path: tiles.maps for tiles in Tiles.in_folder(path / "atlas", layer)}
    blocks = sorted((path / "atlas" / layer).glob("*-*.safetensors"))
    for block in blocks:
        first, last = map(int, block.stem.split("-"))
        if feature_map in indexed.get(block, range(first, last + 1)):
            return block
    files = epoch_files(path)
    if not files and not blocks:
        raise UserError(f"{option}={asked} has no atlas of {layer}.")
    return files[-1] if files else None


@dataclass(frozen=True)
class Block:
    """A file of tiles: some feature maps of a layer."""

    layer: str
    maps: list[int]
    path: Path
    #: Whether it is to be projected, or is there from an earlier run.
    due: bool


def plan_blocks(
    folder: Path,
    fields: Mapping[str, ReceptiveField],
    drawn: Mapping[str, list[int]],
    top: Mapping[str, TopImages],
    deconvnet: Deconvnet,
    scorer: Scorer | None = None,
) -> list[Block]:
    """The files of all layers, with the tiles of some feature maps each.

    Files of the same projections stay; those by another method or of other images are removed.
    """
    method = deconvnet.method
    blocks = []
    for layer, maps in drawn.items():
        images, there = top[layer].indices.cpu(), {}
        for tiles in Tiles.in_folder(folder, layer):
            same = (tiles.rule, tiles.norm) == (method.name, method.norm)
            if same and torch.equal(tiles.images, images):
                there[tiles.path] = (tiles.maps, tiles.scoring)
            else:
                tiles.remove()
        height, width = fields[layer].tile_size
        size = max(1, BLOCK_BYTES // (images.shape[1] * height * width * BYTES_A_PIXEL))
        for start in range(0, len(maps), size):
            some = maps[start : start + size]
            path = folder / layer / f"{some[0]:05}-{some[-1]:05}.safetensors"
            scoring = "" if scorer is None else scorer.key(layer, some)
            blocks.append(Block(layer, some, path, due=there.get(path) != (some, scoring)))
    return blocks


def project_blocks(
    blocks: Sequence[Block],
    deconvnet: Deconvnet,
    top: Mapping[str, TopImages],
    images_of: Callable[[list[int]], ImageBatch],
    trainer: lightning.Trainer,
    *,
    about: str,
    **how: Any,
) -> None:
    """Write those that are due, each on one of the Trainer's processes.

    Args:
        top: the images of each layer, of every feature map.
        images_of, how: see `build_atlas`.
        about: what the progress bar says.
    """
    own = [block for block in blocks if block.due][trainer.global_rank :: trainer.world_size]
    units = sum(int(top[block.layer].present[block.maps].sum()) for block in own)
    with tqdm(total=units, desc=about, unit="unit", disable=not trainer.is_global_zero) as bar:
        for block in own:
            build_atlas(
                deconvnet,
                {block.layer: top[block.layer]},
                images_of,
                maps={block.layer: block.maps},
                on_projected=bar.update,
                **how,
            ).save(block.path)
