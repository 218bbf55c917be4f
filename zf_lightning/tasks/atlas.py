"""task=atlas: what excites every feature map of chosen layers, over a whole dataset (Fig. 2)."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from tqdm import tqdm

from zf_lightning.atlas import Atlas, ImageBatch, LayerAtlas, TopImages, build_atlas
from zf_lightning.config.instantiate import plain, save_configuration
from zf_lightning.data import SPLITS
from zf_lightning.deconv import Deconvnet
from zf_lightning.errors import UserError
from zf_lightning.inspection.search import AtlasSearch
from zf_lightning.inspection.top_images import chosen_maps, image_batch, load_winners
from zf_lightning.report.page import write_report
from zf_lightning.report.panel import atlas_panel
from zf_lightning.results.result import write_result
from zf_lightning.system.devices import chosen_device
from zf_lightning.system.digests import digest_of, digest_of_weights
from zf_lightning.training import build as assembly
from zf_lightning.training.module import ImageClassifier

log = logging.getLogger(__name__)

#: The tiles of so many bytes are made at a time, and stand in one file.
BLOCK_BYTES = 2**28
#: Of a pixel: three colours as uint8, three values as float16, and whether it is in the image.
BYTES_A_PIXEL = 10


def run(config: DictConfig) -> dict[str, Any]:
    """Search, project, draw; returns what `result.json` holds.

    Started again in its folder it goes on: with the search where it was last saved, and with the
    files of projections that are not there yet.
    """
    folder = Path(config.paths.run)
    classifier = assembly.classifier_to_inspect(config).to(chosen_device(config.trainer))
    config = assembly.configuration_to_inspect(config)
    options = config.atlas
    if options.split not in SPLITS:
        raise UserError(f"atlas.split={options.split} is not one of {', '.join(SPLITS)}.")
    deconvnet = Deconvnet(classifier.network, rule=options.rule, norm=options.norm)
    layers = deconvnet.find_layers(plain(options.layers))
    size = classifier.preprocessing.input_size
    shapes = deconvnet.shapes(layers, (size, size))
    drawn = {
        layer: chosen_maps(plain(options.maps), shapes[layer][0], layer=layer, seed=config.seed)
        for layer in layers
    }
    source = assembly.build_source(config)
    files = source.split(options.split)
    # Where all splits are the same images, none of them is called validation.
    split = None if all(source.split(other) is files for other in SPLITS) else options.split
    data = assembly.build_datamodule(config, source)
    save_configuration(config, folder)
    search = AtlasSearch(
        classifier,
        deconvnet,
        layers,
        top=options.top,
        file=folder / "atlas" / "search.safetensors",
        key=_key(classifier, files.content_key(), data.batch_size, config),
        keep_images=options.keep_images,
        save_every=options.save_every,
    )
    top = search.run(data.evaluation_loader(options.split))
    kept = search.kept

    def images_of(indices: Sequence[int]) -> ImageBatch:
        if kept is None:
            return load_winners(files, indices, classifier)
        return image_batch(kept.images(indices), kept.labels(indices), classifier)

    # A checkpoint's classes are those of the data it was trained on, not of any other.
    same = list(source.class_names) == list(classifier.class_names)
    classes = classifier.class_names if same else source.class_names
    paths = _project(
        folder / "atlas", deconvnet, top, images_of, drawn, size, files, classes, split
    )
    result = {
        "task": "atlas",
        "model": classifier.hparams["model"]["name"],
        "weights": str(config.ckpt or config.model.weights),
        "data": config.data.name,
        "split": split,
        "images": search.images,
        "top": options.top,
        "rule": options.rule,
        "norm": options.norm,
        "layers": {layer: _summary(found) for layer, found in top.items()},
        "files": {
            layer: [str(path.relative_to(folder)) for path in of_layer]
            for layer, of_layer in paths.items()
        },
    }
    mismatches = _draw(folder, paths, drawn, config)
    for layer, number in mismatches.items():
        result["layers"][layer]["mismatches"] = number
    write_result(folder, result)
    write_report(folder)
    _report(result, folder)
    return result


def _key(classifier: ImageClassifier, content: str, batch_size: int, config: DictConfig) -> str:
    """Says which atlas this is: what else may change does not change it."""
    options = plain(config.atlas)
    for name in ("pictures", "save_every"):
        options.pop(name)
    parts = [
        digest_of_weights(classifier.network),
        digest_of_weights(classifier.preprocessing),
        content,
        batch_size,
        config.seed,
        options,
    ]
    return digest_of([json.dumps(parts, sort_keys=True)])


def _project(
    folder: Path,
    deconvnet: Deconvnet,
    top: dict[str, TopImages],
    images_of: Callable[[list[int]], ImageBatch],
    drawn: dict[str, list[int]],
    size: int,
    files: Any,
    classes: Sequence[str],
    split: str | None,
) -> dict[str, list[Path]]:
    """The files of each layer, each with the tiles of some feature maps; those there are stay."""
    fields = deconvnet.receptive_fields(list(top), (size, size))
    paths: dict[str, list[Path]] = {}
    units = sum(int(found.present[drawn[layer]].sum()) for layer, found in top.items())
    with tqdm(total=units, desc="projecting", unit="unit") as bar:
        for layer, found in top.items():
            height, width = fields[layer].tile_size
            bytes_a_map = found.indices.shape[1] * height * width * BYTES_A_PIXEL
            for maps in _blocks(drawn[layer], max(1, BLOCK_BYTES // bytes_a_map)):
                path = folder / layer / f"{maps[0]:05}-{maps[-1]:05}.safetensors"
                paths.setdefault(layer, []).append(path)
                # The index is written last: where there is one, the file is whole.
                if path.with_suffix(".json").exists():
                    bar.update(int(found.present[maps].sum()))
                    continue
                build_atlas(
                    deconvnet,
                    {layer: found},
                    images_of,
                    input_size=(size, size),
                    maps={layer: maps},
                    label_of=lambda index: int(files.labels[index]),
                    classes=classes,
                    split=split,
                    on_projected=bar.update,
                ).save(path)
    return paths


def _blocks(maps: list[int], number: int) -> Iterator[list[int]]:
    yield from (maps[start : start + number] for start in range(0, len(maps), number))


def _draw(
    folder: Path, paths: dict[str, list[Path]], drawn: dict[str, list[int]], config: DictConfig
) -> dict[str, int]:
    """A picture of some feature maps of each layer; returns the mismatches of each layer."""
    (folder / "figures").mkdir(exist_ok=True)
    pictures = plain(config.atlas.pictures)
    mismatches = {}
    for layer, of_layer in paths.items():
        count = len(drawn[layer])
        if isinstance(pictures, list):
            chosen = [number for number in pictures if number in drawn[layer]]
        else:
            places = chosen_maps(pictures, count, layer=layer, seed=config.seed)
            chosen = [drawn[layer][place] for place in places]
        parts, mismatches[layer] = [], 0
        for path in of_layer:
            atlas = Atlas.load(path)
            part = atlas.layers[layer]
            mismatches[layer] += len(part.mismatches)
            here = set(part.drawn.tolist())
            parts.append(part.select([number for number in chosen if number in here]))
        if chosen:
            atlas.layers = {layer: LayerAtlas.joined(parts)}
            atlas_panel(atlas, layer).save(folder / "figures" / f"{layer}.png", compress_level=3)
    return mismatches


def _summary(found: TopImages) -> dict[str, int]:
    strongest = found.activations[:, 0]
    return {
        "feature_maps": len(strongest),
        "dead": int((strongest <= 0).sum()),
        "nans": int(found.nans.sum()),
    }


def _report(result: dict[str, Any], folder: Path) -> None:
    log.info(
        f"\nThe top {result['top']} of {result['images']:,} {result['split']} images of "
        f"{result['data']}:"
    )
    for layer, summary in result["layers"].items():
        dead = f", {summary['dead']} of them dead" if summary["dead"] else ""
        log.info(f"  {layer:<24} {summary['feature_maps']:>5} feature maps{dead}")
        if summary["nans"]:
            log.warning(f"{layer} held NaN in {summary['nans']} feature maps.")
        if summary["mismatches"]:
            log.warning(
                f"{summary['mismatches']} activations of {layer} were not found again when they "
                "were projected; the files name them."
            )
    log.info(f"Everything is in {folder}, as {folder / 'report' / 'index.html'} shows.")
