"""task=occlusion: the effect of hiding each place of an image (Fig. 7)."""

from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor
from tqdm import tqdm

from zf_lightning.analysis import ObservedNetwork, Occlusion, occlude
from zf_lightning.analysis.squares import grid_starts
from zf_lightning.atlas import Atlas
from zf_lightning.config.options import run_folder
from zf_lightning.deconv import Deconvnet, Unit
from zf_lightning.figures.occlusion import OcclusionPanels, occlusion_figure
from zf_lightning.inspection.outcome import finish
from zf_lightning.inspection.subject import (
    Subject,
    load_pictures,
    load_subject,
    square_size,
)
from zf_lightning.inspection.tile_files import atlas_file
from zf_lightning.training.checkpoint import find_checkpoint
from zf_lightning.training.checkpoint_file import read_checkpoint

#: Images in one figure.
ROWS = 5


def run(config: DictConfig) -> dict[str, Any]:
    """Slide the square over `images`; write the figures and `result.json`."""
    subject = load_subject(config)
    pictures = load_pictures(config, subject)
    options = config.occlusion
    size = square_size(options.size, subject)
    stride = max(1, round(size / 4)) if options.stride is None else options.stride
    observed = ObservedNetwork(subject.network)
    layer = observed.last_convolution if options.layer is None else options.layer
    # A mistake is reported before the long part.
    observed.graph.node(layer)
    find_atlas(config, layer, 0)
    inputs = subject.prepare(pictures.pixels)
    positions = len(grid_starts(subject.input_size, size, stride)) ** 2
    with tqdm(total=positions * len(inputs), desc="occluding", unit="position") as bar:
        found = occlude(
            observed,
            inputs,
            layer=layer,
            labels=pictures.labels,
            size=size,
            stride=stride,
            fill=subject.grey(options.grey),
            batch_size=options.batch_size,
            windows=options.windows,
            progress=bar.update,
        )
    deconvnet = Deconvnet(subject.network)
    display = subject.display(pictures.pixels)
    rows = [
        _panels(subject, deconvnet, config, *of_image)
        for of_image in zip(found, inputs, display, pictures.names, strict=True)
    ]
    figures = {
        "occlusion" if len(rows) <= ROWS else f"occlusion_{start // ROWS + 1}": occlusion_figure(
            rows[start : start + ROWS], subject.class_names
        )
        for start in range(0, len(rows), ROWS)
    }
    result = {
        "layer": layer,
        "size_pixels": size,
        "stride_pixels": stride,
        "grey": options.grey,
        "input_size_pixels": subject.input_size,
        "images": [
            _summary(subject, *of_image)
            for of_image in zip(found, pictures.names, pictures.labels, strict=True)
        ],
    }
    return finish(config, result, figures, [_line(image) for image in result["images"]])


def find_atlas(config: DictConfig, layer: str, feature_map: int) -> Path | None:
    """The atlas file with a feature map's projections: of `occlusion.atlas`, or of the checkpoint.

    Without `occlusion.atlas`, see `atlas_file`, it is that of the checkpoint's epoch in its run.
    """
    if config.occlusion.atlas is None:
        if config.ckpt is None:
            return None
        checkpoint = find_checkpoint(config.ckpt)
        name = f"epoch={read_checkpoint(checkpoint)['epoch'] + 1:03}.safetensors"
        path = run_folder(checkpoint) / "atlas" / name
        return path if path.is_file() else None
    return atlas_file("occlusion.atlas", config.occlusion.atlas, layer, feature_map)


def other_projections(path: Path | None, layer: str, feature_map: int) -> Tensor | None:
    """Projections `[k, 3, h, w]` of a feature map's top images; None if the atlas has none."""
    atlas = None if path is None else Atlas.load(path)
    if atlas is None or layer not in atlas.layers:
        return None
    found = atlas.layers[layer]
    places = (found.drawn == feature_map).nonzero()
    if not len(places):
        return None
    projections = found.projections[int(places[0, 0])]
    return projections[found.activations[feature_map, : len(projections)] > 0]


def _panels(
    subject: Subject,
    deconvnet: Deconvnet,
    config: DictConfig,
    found: Occlusion,
    image: Tensor,
    display: Tensor,
    name: str,
) -> OcclusionPanels:
    maps = deconvnet.forward(image[None], [found.layer]).outputs[found.layer][0, found.feature_map]
    row, column = divmod(int(maps.argmax()), maps.shape[1])
    unit = Unit(0, found.layer, found.feature_map, row, column)
    own = deconvnet.project_windows(image[None], [unit]).pixels[0].cpu()
    atlas = find_atlas(config, found.layer, found.feature_map)
    others = other_projections(atlas, found.layer, found.feature_map)
    return OcclusionPanels(
        name=name,
        picture=display.numpy(),
        tops=found.tops,
        lefts=found.lefts,
        size=found.size,
        worst=None if found.flat else found.worst,
        layer=found.layer,
        feature_map=found.feature_map,
        activation=found.activation.numpy(),
        projection=own.numpy(),
        other_projections=(own[None][:0] if others is None else others).numpy(),
        class_name=subject.class_names[found.label],
        probability=found.probability.numpy(),
        unoccluded_probability=float(torch.tensor(found.log_probability_unoccluded).exp()),
        most_probable=found.most_probable.numpy(),
    )


def _summary(subject: Subject, found: Occlusion, name: str, label: int | None) -> dict[str, Any]:
    changed = found.most_probable != found.predicted
    labels, counts = found.most_probable.unique(return_counts=True)
    order = counts.argsort(descending=True, stable=True)
    return {
        "image": name,
        "class": subject.class_names[found.label],
        "class_is_known": label is not None,
        "predicted": subject.class_names[found.predicted],
        "probability_unoccluded": float(torch.tensor(found.log_probability_unoccluded).exp()),
        "probability_lowest": float(found.probability.min()),
        "lowest_at_row_and_column_pixels": None if found.flat else list(found.worst),
        "feature_map": found.feature_map,
        "total_activation_unoccluded": found.total_activation,
        "total_activation_lowest": float(found.activation.min()),
        "positions": found.most_probable.numel(),
        "positions_with_another_class": int(changed.sum()),
        "most_probable_classes": {
            subject.class_names[int(labels[number])]: int(counts[number]) for number in order
        },
    }


def _line(image: dict[str, Any]) -> str:
    where = image["lowest_at_row_and_column_pixels"]
    at = "nowhere" if where is None else f"at row {where[0]}, column {where[1]}"
    return (
        f"{image['image']}: {image['predicted']}; probability of {image['class']} "
        f"{image['probability_unoccluded']:.3g}, lowest {image['probability_lowest']:.3g} {at}; "
        f"another class at {image['positions_with_another_class']} of {image['positions']} "
        "positions"
    )
