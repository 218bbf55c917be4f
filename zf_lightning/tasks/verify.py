"""task=verify: is an atlas what it says?

Compared with what the atlas was made of are the weights, tensor by tensor, and the list of the
images; with the images as they are now every patch; and some units, drawn from the seed, are
projected again on another path (`zf_lightning/analysis/plain_backward.py`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from tqdm import tqdm

from zf_lightning.analysis.plain_backward import PlainBackward, has_plain_path
from zf_lightning.atlas import Atlas, ImageBatch, LayerAtlas
from zf_lightning.data import LabelledImages
from zf_lightning.deconv.precision import full_precision
from zf_lightning.deconv.receptive_field import cut_out
from zf_lightning.errors import UserError
from zf_lightning.graph import Graph
from zf_lightning.inspection.digests import (
    changed_weights,
    digests_of_weights,
    other_code,
    read_digests,
)
from zf_lightning.inspection.outcome import facts, finish
from zf_lightning.inspection.subject import configuration_to_inspect, load_subject
from zf_lightning.inspection.tile_files import Tiles
from zf_lightning.inspection.top_images import ReadOnce, load_top_images
from zf_lightning.results.result import counted
from zf_lightning.results.tables import Table
from zf_lightning.training import build as assembly

#: Relative differences that rounding explains: of activations, and of projections, from their
#: largest value and beside the half of the steps in which they are kept.
ACTIVATION, PROJECTION = 1e-4, 2e-3
#: So many findings are named; the table has all.
NAMED = 20


def run(config: DictConfig) -> dict[str, Any]:
    """Compare, print and write a table; returns what `result.json` holds, with its `verdict`."""
    folder = _atlas_folder(config)
    subject = load_subject(config)
    config = configuration_to_inspect(config)
    made = OmegaConf.load(folder / "config.yaml").atlas
    graph = Graph(subject.network)
    files = assembly.build_source(config).split(made.split)
    findings = _against_digests(folder, subject.classifier, files)
    counts = {"units": 0, "images": 0, "without_second_path": 0}
    generator = torch.Generator().manual_seed(config.seed)
    layers = sorted(path for path in (folder / "atlas").iterdir() if path.is_dir())
    tiles = [one for path in layers for one in Tiles.in_folder(folder / "atlas", path.name)]
    if not tiles:
        raise UserError(f"verify.atlas={folder} has no tiles that could be verified.")
    checked: set[int] = set()
    read_once = ReadOnce(files)
    for one in tqdm(tiles, desc="verifying", unit="file"):
        atlas = Atlas.load(one.path)
        (layer,) = atlas.layers.values()
        plain = has_plain_path(graph, layer.layer)
        counts["without_second_path"] += not plain
        units = _drawn(layer, config.verify.share, generator)
        for index in sorted(set(layer.indices[layer.drawn].flatten().tolist()) - {-1}):
            if index >= len(files):
                findings.append(("image", f"number {index}", "there is no such image any more"))
                continue
            image = load_top_images(read_once, [index], subject.classifier)
            name = atlas.names.get(index, str(index))
            checked.add(index)
            if not _same_patches(layer, index, image):
                findings.append(("image", name, "it shows something else than the atlas does"))
            here = [(p, r) for p, r in units if layer.indices[layer.drawn[p], r] == index]
            if here:
                counts["units"] += len(here)
                findings += _projected_again(graph, atlas, layer, image, here, plain=plain)
    counts["images"] = len(checked)
    findings = list(dict.fromkeys(findings))
    # No finding: what numbers depend on may change and leave them as they are.
    others = other_code(read_digests(folder / "atlas") or {})
    reading = _reading(counts)
    if others:
        reading += f" Made with {'; '.join(others)}."
    verdict = f"not as it says: {counted(len(findings), 'finding')}" if findings else "as it says"
    table = Table(
        "verify",
        f"The atlas of {folder.name} is {verdict}",
        ("what", "which", "finding"),
        tuple(findings),
        (reading,),
    )
    table.write(Path(config.paths.run))
    shown = table.lines()[: NAMED + 1] if findings else []
    result = {
        "verdict": verdict,
        "atlas": str(folder),
        **facts(config, subject.classifier),
        "units_projected_again": counts["units"],
        "images_compared": counts["images"],
        "findings": [list(finding) for finding in findings],
        "made_with": others,
    }
    return finish(config, result, {}, [f"\n{table.title}", *shown, reading])


def _atlas_folder(config: DictConfig) -> Path:
    if config.verify.atlas is None:
        raise UserError("task=verify needs verify.atlas=FOLDER, the folder of a run of task=atlas.")
    folder = Path(config.verify.atlas).expanduser()
    if not (folder / "atlas").is_dir() or not (folder / "config.yaml").exists():
        raise UserError(f"verify.atlas={folder} is not the folder of a run of task=atlas.")
    return folder


def _against_digests(folder: Path, classifier: Any, files: LabelledImages) -> list[tuple[str, ...]]:
    recorded = read_digests(folder / "atlas")
    if recorded is None:
        return [("digests", "digests.json", "there is none: weights and data are not compared")]
    found: list[tuple[str, ...]] = [
        ("weights", name, "other values than the atlas was made with")
        for name in changed_weights(recorded["weights"], digests_of_weights(classifier))
    ]
    if recorded["data"] != files.content_key():
        found.append(("data", "names, labels and sizes", "others than the atlas was made with"))
    return found


def _drawn(layer: LayerAtlas, share: float, generator: torch.Generator) -> list[tuple[int, int]]:
    """Some units with tiles: places of drawn maps, and ranks."""
    tiles = layer.activations[layer.drawn, : layer.patches.shape[1]]
    possible = ((layer.indices[layer.drawn, : tiles.shape[1]] >= 0) & (tiles > 0)).nonzero()
    number = min(len(possible), max(1, round(share * len(possible))))
    chosen = torch.randperm(len(possible), generator=generator)[:number]
    return [(place, rank) for place, rank in possible[chosen].tolist()]


def _same_patches(layer: LayerAtlas, index: int, image: ImageBatch) -> bool:
    """Whether the atlas's patches of an image are what it shows now."""
    ranks = layer.patches.shape[1]
    places, rank = (layer.indices[layer.drawn, :ranks] == index).nonzero(as_tuple=True)
    tops, lefts = layer.tiles[places, rank].unbind(-1)
    size = (layer.patches.shape[-2], layer.patches.shape[-1])
    now = cut_out(image.display, torch.zeros_like(tops), tops, lefts, size)
    return torch.equal(now, layer.patches[places, rank])


def _projected_again(
    graph: Graph,
    atlas: Atlas,
    layer: LayerAtlas,
    image: ImageBatch,
    units: list[tuple[int, int]],
    *,
    plain: bool,
) -> Iterator[tuple[str, ...]]:
    """What differs of some units of one image."""
    # Where the rest of the way down is not known, the activations are.
    method = atlas.rule if plain else "gradient"
    with full_precision(image.inputs.device):
        path = PlainBackward(graph, image.inputs[0], layer.layer, method=method, norm=atlas.norm)
        for place, rank in units:
            number = int(layer.drawn[place])
            row, column = (int(of[number, rank]) for of in (layer.rows, layer.columns))
            name = f"{layer.layer}, map {number}, image {rank + 1}"
            at = (number, row, column)[: path.maps.dim()]
            activation, recorded = float(path.maps[at]), float(layer.activations[number, rank])
            if abs(activation - recorded) > ACTIVATION * max(abs(activation), abs(recorded)):
                yield "activation", name, f"{recorded:.6g} in the atlas, {activation:.6g} now"
                continue
            found = path.project(number, row, column) if plain else None
            if found is not None and not _same_projection(layer, place, rank, found):
                yield "projection", name, "it differs by more than rounding explains"


def _same_projection(layer: LayerAtlas, place: int, rank: int, found: Tensor) -> bool:
    top, left = layer.tiles[place, rank].tolist()
    size = (layer.patches.shape[-2], layer.patches.shape[-1])
    at = torch.tensor([top]), torch.tensor([left])
    now = cut_out(found[None].cpu(), torch.tensor([0]), *at, size)
    outside = float(found.abs().sum()) - float(now.abs().sum())
    peak = float(now.abs().max())
    kept = layer.projections[place, rank]
    allowed = (PROJECTION + 0.5 / int(layer.steps[place, rank])) * peak
    return bool(((now[0] - kept).abs() <= allowed).all()) and outside <= PROJECTION * float(
        found.abs().sum()
    )


def _reading(counts: dict[str, int]) -> str:
    text = (
        f"Compared: the weights, the list of images, the patches of "
        f"{counted(counts['images'], 'image')}; "
        f"{counted(counts['units'], 'unit')} projected again in whole images by plain autograd."
    )
    if counts["without_second_path"]:
        text += (
            f" In {counted(counts['without_second_path'], 'file')} only their activations: layers "
            "below have operations that the second path does not know."
        )
    return text
