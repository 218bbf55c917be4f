"""task=evolution: feature maps over the epochs of a run (Fig. 4)."""

from collections.abc import Sequence
from typing import Any

import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from zf_lightning.analysis import LayerEvolution, epochs_to_show, evolution
from zf_lightning.atlas import Atlas, epoch_files
from zf_lightning.config.instantiate import plain
from zf_lightning.config.options import run_folder
from zf_lightning.errors import UserError
from zf_lightning.figures.evolution import evolution_curves, evolution_panel
from zf_lightning.inspection.outcome import finish

CURVES = ("jaccard_with_last", "jaccard_with_previous", "similarity_with_previous")


def run(config: DictConfig) -> dict[str, Any]:
    """Follow the atlases of the run `ckpt`; write figures and `result.json`."""
    options = config.evolution
    if not 0 < options.threshold <= 1:
        raise UserError(f"evolution.threshold={options.threshold} is not between 0 and 1.")
    atlases = load_atlases(config.ckpt, plain(options.layers))
    found = evolution(atlases)
    by_epoch = {(atlas.epoch or 0) + 1: atlas for atlas in atlases}
    shown = epochs_to_show(list(by_epoch), plain(options.epochs))
    top = atlases[0].layers[found[0].layer].indices.shape[1]
    shown_atlases = [by_epoch[epoch] for epoch in shown]
    figures = {
        f"evolution_{one.layer}": _panel(one.layer, shown_atlases, options.maps) for one in found
    }
    figures["evolution"] = evolution_curves(
        found[0].epochs,
        *({one.layer: getattr(one, name).nanmean(1).numpy() for one in found} for name in CURVES),
        top=top,
    )
    result = {
        "run": str(config.ckpt),
        "epochs": list(found[0].epochs),
        "top": top,
        "threshold": options.threshold,
        "layers": {one.layer: _numbers(one, options.threshold) for one in found},
    }
    return finish(config, result, figures, [_line(one, options.threshold) for one in found])


def load_atlases(ckpt: Any, layers: Sequence[str] | None) -> list[Atlas]:
    """The atlases of a run, in the order of their epochs, with all or some of their layers.

    Raises UserError if the run has fewer than two, or they have no such layer.
    """
    if ckpt is None:
        raise UserError("task=evolution needs a run: give ckpt=RUN_FOLDER.")
    folder = run_folder(ckpt)
    files = epoch_files(folder)
    if len(files) < 2:
        raise UserError(
            f"{folder} has {len(files)} atlases of training epochs, and evolution needs at least "
            "two: train with the probe (callbacks.probe) for two epochs or more."
        )
    atlases = [Atlas.load(file) for file in files]
    for atlas in atlases:
        missing = [layer for layer in layers or () if layer not in atlas.layers]
        if missing:
            raise UserError(
                f"The atlases of {folder} have no layer {missing[0]}; they have "
                f"{', '.join(atlas.layers)}."
            )
        if layers is not None:
            atlas.layers = {layer: atlas.layers[layer] for layer in layers}
    return atlases


def _panel(layer: str, atlases: Sequence[Atlas], maps: int) -> Image.Image:
    found = [atlas.layers[layer] for atlas in atlases]
    drawn = found[0].drawn[:maps]
    images = torch.stack([one.indices[drawn, 0] for one in found])
    jumped = torch.zeros(images.shape, dtype=torch.bool)
    jumped[1:] = images[1:] != images[:-1]
    number = len(drawn)
    return evolution_panel(
        torch.stack([one.projections[:number, 0] for one in found]).numpy(),
        torch.stack([one.inside[:number, 0] for one in found]).numpy(),
        torch.stack([one.activations[drawn, 0] for one in found]).numpy(),
        jumped.numpy(),
        feature_maps=drawn.tolist(),
        epochs=[(atlas.epoch or 0) + 1 for atlas in atlases],
        title=f"{layer} over the epochs",
        subtitle="projections of the strongest activation; bar: another image",
    )


def _numbers(found: LayerEvolution, threshold: float) -> dict[str, Any]:
    return {
        "settled_at_epoch": found.settled(threshold),
        **{name: _means(getattr(found, name)) for name in CURVES},
        "jumps": found.jumped.double().mean(1).tolist(),
    }


def _means(values: Tensor) -> list[float | None]:
    """Means over the feature maps, by epoch; None where nothing excites any of them."""
    return [value if value == value else None for value in values.nanmean(1).tolist()]


def _line(found: LayerEvolution, threshold: float) -> str:
    settled = found.settled(threshold)
    when = "only at the end" if settled is None else f"from epoch {settled} on"
    jumps = 100 * float(found.jumped.double().mean())
    return (
        f"{found.layer}: {threshold:.0%} of the last epoch's top images {when}; the strongest "
        f"image changed in {jumps:.0f} % of the steps"
    )
