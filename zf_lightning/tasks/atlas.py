"""task=atlas: the images that excite each feature map of a dataset, and their projections (Fig. 2).

The search for the top-k images (`atlas/search.safetensors`) knows nothing of what is projected: in
the same folder, other maps or another method are projected without another pass over the data.
Both are shared out among the processes of the Trainer, which need one folder that all can write.
"""

import json
import logging
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
from omegaconf import DictConfig

from zf_lightning.analysis.distributions import (
    MapDistribution,
    describe_layer,
    examples_at,
    scores_of_layers,
    write_layer,
)
from zf_lightning.analysis.intervals import mean_interval
from zf_lightning.atlas import Atlas, ImageBatch, LayerAtlas, Survey
from zf_lightning.atlas.room import check_room
from zf_lightning.atlas.survey import BYTES_A_MAP
from zf_lightning.callbacks.first_failure import told_how_it_ends
from zf_lightning.config.instantiate import plain
from zf_lightning.data import SPLITS, LabelledImages
from zf_lightning.data.decode import STORED_SIZE
from zf_lightning.deconv import Deconvnet
from zf_lightning.inspection.digests import write_digests
from zf_lightning.inspection.outcome import facts
from zf_lightning.inspection.scoring import build_scorer
from zf_lightning.inspection.search import AtlasSearch
from zf_lightning.inspection.subject import classifier_to_inspect, configuration_to_inspect
from zf_lightning.inspection.tile_files import Block, plan_blocks, project_blocks
from zf_lightning.inspection.top_images import (
    KEPT_SAMPLES,
    ReadOnce,
    chosen_maps,
    image_batch,
    images_at_once,
    load_top_images,
)
from zf_lightning.report.page import write_report
from zf_lightning.report.panel import atlas_panel
from zf_lightning.report.wall import MapWall
from zf_lightning.results.result import counted, write_result
from zf_lightning.system.digests import digest_of, digest_of_weights
from zf_lightning.training import build as assembly
from zf_lightning.training.module import ImageClassifier
from zf_lightning.training.provenance import record_run
from zf_lightning.training.wandb_runs import log_figures

log = logging.getLogger(__name__)


def run(config: DictConfig) -> dict[str, Any]:
    """Search, project and draw; returns the contents of `result.json`, on the first process.

    Started again in its folder, it resumes the search and projects what has no file yet.
    """
    folder = Path(config.paths.run)
    # Before weights and data: a mistake in it is reported at once.
    trainer = assembly.build_inspection_trainer(config)
    classifier = classifier_to_inspect(config)
    config = configuration_to_inspect(config)
    options = config.atlas
    size = classifier.preprocessing.input_size
    deconvnet = Deconvnet(
        classifier.network,
        method=options.method,
        norm=options.norm,
        batch_size=images_at_once(size),
        cross_check=options.cross_check,
    )
    layers = deconvnet.find_layers(plain(options.layers))
    shapes = deconvnet.shapes(layers, (size, size))
    drawn = {
        layer: _chosen(config, "maps", layer, list(range(shapes[layer][0]))) for layer in layers
    }
    # A mistake is known before the search.
    shown = {layer: _chosen(config, "pictures", layer, drawn[layer]) for layer in layers}
    scored = {layer: _chosen(config, "scored", layer, drawn[layer]) for layer in layers}
    scores = plain(options.scores)
    source = assembly.build_source(config)
    files = source.split(options.split)
    feature_maps = {layer: shapes[layer][0] for layer in layers}
    kept = min(len(files), options.top * sum(feature_maps.values())) if options.keep_images else 0
    check_room(
        "atlas.top",
        options.top,
        feature_maps,
        deconvnet.receptive_fields(layers, (size, size)),
        # A file has the tiles of at least one feature map.
        drawn={layer: shown[layer] or drawn[layer][:1] for layer in layers},
        on_disk=drawn,
        folder=folder,
        tables=trainer.num_devices,
        kept_bytes=trainer.num_devices
        * ((kept or KEPT_SAMPLES) * 3 * STORED_SIZE**2 + BYTES_A_MAP * sum(feature_maps.values())),
    )
    # Where all splits are the same images, none of them is called validation.
    split = None if all(source.split(other) is files for other in SPLITS) else options.split
    data = assembly.build_datamodule(config, source)
    data.trainer = trainer
    if trainer.is_global_zero:
        record_run(config, folder, source)
    search = AtlasSearch(
        classifier,
        deconvnet,
        layers,
        images=len(files),
        top=options.top,
        file=folder / "atlas" / "search.safetensors",
        key=_key(classifier, files.content_key(), data.batch_size, layers, config),
        keep_images=options.keep_images,
        save_every=options.save_every,
    )
    read_once = ReadOnce(files)

    def images_of(indices: Sequence[int]) -> ImageBatch:
        if search.cache is None:
            return load_top_images(read_once, indices, classifier)
        return image_batch(search.cache.images(indices), search.cache.labels(indices), classifier)

    # A checkpoint's classes are those of its training data, not of any other.
    same = list(source.class_names) == list(classifier.class_names)
    classes = tuple(classifier.class_names if same else source.class_names)
    how = {
        "input_size": (size, size),
        "label_of": lambda index: int(files.labels[index]),
        "name_of": lambda index: files.names[index],
        "classes": classes,
        "split": split,
    }
    quantiles = [float(quantile) for quantile in plain(options.quantiles)]
    # Which images these are is known at the end: too late to keep them.
    draws_examples = bool(quantiles) and not options.keep_images
    with told_how_it_ends(trainer, folder):
        search.run(trainer, data.evaluation_loader(options.split))
        survey = search.found
        examples = examples_at(survey, quantiles)
        # The Trainer has moved it back.
        classifier.to(trainer.strategy.root_device)
        scorer = build_scorer(scores, deconvnet, classifier, scored, files, seed=config.seed)
        blocks: list[Block] = []
        example_blocks: list[Block] = []
        if trainer.is_global_zero:
            # Not before: the search has refused to go on with another network or other data.
            write_digests(folder / "atlas", classifier, files.content_key())
            fields = deconvnet.receptive_fields(layers, (size, size))
            blocks = plan_blocks(folder / "atlas", fields, drawn, survey.top, deconvnet, scorer)
            if draws_examples:
                at = folder / "distribution"
                example_blocks = plan_blocks(at, fields, drawn, examples, deconvnet)
        blocks, example_blocks = trainer.strategy.broadcast((blocks, example_blocks))
        project_blocks(
            blocks,
            deconvnet,
            survey.top,
            images_of,
            trainer,
            **how,
            scorer=scorer,
            about="projecting",
        )
        project_blocks(
            example_blocks,
            deconvnet,
            examples,
            images_of,
            trainer,
            **how,
            about="examples at quantiles",
        )
        trainer.strategy.barrier()
    if not trainer.is_global_zero:
        return {}
    paths = {layer: [block.path for block in blocks if block.layer == layer] for layer in layers}
    described = _describe(folder, survey, quantiles, files, classes)
    wall = MapWall(folder)
    result = {
        "task": "atlas",
        **facts(config, classifier),
        "split": split,
        "images": search.images,
        "top": options.top,
        "rule": options.method,
        "norm": options.norm,
        "layers": {
            layer: {
                "feature_maps": len(found.activations),
                "dead": int((found.activations[:, 0] <= 0).sum()),
                "nans": int(found.nans.sum()),
                **_draw(wall, folder, layer, paths[layer], drawn[layer], described[layer], config),
                **_over_all_images(described[layer]),
            }
            for layer, found in survey.top.items()
        },
        "files": {
            layer: [str(path.relative_to(folder)) for path in of_layer]
            for layer, of_layer in paths.items()
        },
    }
    for block in example_blocks:
        wall.add_examples(Atlas.load(block.path))
    wall.write()
    write_result(folder, result)
    write_report(folder)
    _report(result, folder)
    pictures = {layer: folder / "figures" / f"{layer}.png" for layer in paths}
    figures = {f"atlas/{layer}": file for layer, file in pictures.items() if file.exists()}
    upload = log_figures(config, figures, wall.rows())
    if upload:
        log.info(f"To upload the figures to Weights & Biases: {upload}")
    return result


def _chosen(config: DictConfig, option: str, layer: str, of: list[int]) -> list[int]:
    """The feature maps among `of` that an option of the task names."""
    wanted = plain(config.atlas[option])
    if option != "maps" and isinstance(wanted, list):
        return [number for number in wanted if number in of]
    places = chosen_maps(wanted, len(of), layer=layer, seed=config.seed, option=f"atlas.{option}")
    return [of[place] for place in places]


def _key(
    classifier: ImageClassifier,
    content: str,
    batch_size: int,
    layers: list[str],
    config: DictConfig,
) -> str:
    """A digest of all that the search depends on."""
    parts = [
        digest_of_weights(classifier.network),
        digest_of_weights(classifier.preprocessing),
        content,
        batch_size,
        layers,
        *(config.atlas[name] for name in ("top", "split", "keep_images")),
    ]
    return digest_of([json.dumps(parts)])


def _describe(
    folder: Path,
    survey: Survey,
    quantiles: list[float],
    files: LabelledImages,
    classes: Sequence[str],
) -> dict[str, list[MapDistribution]]:
    """Write what all images say of each feature map."""
    labels = numpy.asarray(files.labels)
    if survey.indices is not None:
        # Those that could be read.
        labels = labels[survey.indices.cpu().numpy()]
    scores = scores_of_layers(survey, labels, len(classes))
    known = labels[labels >= 0]
    shares = numpy.bincount(known, minlength=len(classes)) / max(1, len(known))
    described = {}
    for layer in survey.top:
        of_layer = scores.get(layer)
        described[layer] = describe_layer(survey, layer, quantiles, of_layer, shares)
        write_layer(folder / "distribution", layer, described[layer], quantiles, of_layer, classes)
    return described


def _over_all_images(maps: Sequence[MapDistribution]) -> dict[str, float]:
    """Medians over the feature maps of a layer."""
    found = {"median_excited": statistics.median(one.excited for one in maps)}
    best = [one.classes[0].average_precision for one in maps if one.classes]
    return found | ({"median_best_average_precision": statistics.median(best)} if best else {})


def _draw(
    wall: MapWall,
    folder: Path,
    layer: str,
    paths: list[Path],
    drawn: list[int],
    described: Sequence[MapDistribution],
    config: DictConfig,
) -> dict[str, Any]:
    """Draw a layer's wall, and some of its feature maps as one picture.

    Returns how many activations were not reproduced, and the means of the scores.
    """
    chosen = _chosen(config, "pictures", layer, drawn)
    figure = folder / "figures" / f"{layer}.png"
    figure.parent.mkdir(exist_ok=True)
    figure.unlink(missing_ok=True)
    parts, mismatches = [], 0
    scores: dict[str, list[float]] = {}
    atlas: Atlas | None = None
    for path in paths:
        atlas = Atlas.load(path)
        wall.add(atlas, {layer: described})
        part = atlas.layers[layer]
        mismatches += len(part.mismatches)
        for place in range(len(part.drawn)):
            for name, score in part.scores_of(place).items():
                scores.setdefault(name, []).append(score.mean)
        in_part = set(part.drawn.tolist())
        parts.append(part.select([number for number in chosen if number in in_part]))
    if chosen and atlas is not None:
        atlas.layers = {layer: LayerAtlas.joined(parts)}
        atlas_panel(atlas, layer, described).save(figure, compress_level=3)
    means = {name: mean_interval(values)._asdict() for name, values in scores.items()}
    return {"mismatches": mismatches, "scores": means}


def _report(result: dict[str, Any], folder: Path) -> None:
    log.info(
        f"\nThe top {result['top']} of {result['images']:,} {result['split']} images of "
        f"{result['data']}:"
    )
    for layer, summary in result["layers"].items():
        dead = f", {summary['dead']} of them dead" if summary["dead"] else ""
        log.info(f"  {layer:<24} {summary['feature_maps']:>5} feature maps{dead}")
        if summary["scores"]:
            means = [f"{name} {found['mean']:.2f}" for name, found in summary["scores"].items()]
            log.info(f"    mean {', '.join(means)}")
        if summary["nans"]:
            log.warning(f"{layer} held NaN in {summary['nans']} feature maps.")
        if summary["mismatches"]:
            log.warning(
                f"{counted(summary['mismatches'], 'activation')} of {layer} differed when computed "
                "again for the projection; the files name them."
            )
    log.info(f"Everything is in {folder}; open {folder / 'report' / 'index.html'}.")
