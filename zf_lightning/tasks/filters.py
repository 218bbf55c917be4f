"""task=filters: filters of the first layer and projections of the second (Fig. 6)."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict
from PIL import Image
from torch import Tensor

from zf_lightning.analysis import first_layer, frequency_content, images_that_excite
from zf_lightning.analysis.filters import dominance, renormalised, white_noise
from zf_lightning.analysis.observed import ObservedNetwork
from zf_lightning.atlas import Atlas, epoch_files
from zf_lightning.config.options import run_folder
from zf_lightning.figures.filters import FilterStatistics, filter_sheet, filter_statistics_figure
from zf_lightning.figures.grid import layer_panel
from zf_lightning.inspection.outcome import finish
from zf_lightning.inspection.subject import (
    Subject,
    load_pictures,
    load_subject,
    pictures_of_dataset,
)

#: Feature maps of the second layer that are drawn.
SECOND_LAYER_MAPS = 12


def run(config: DictConfig) -> dict[str, Any]:
    """Describe the filters of `ckpt` or `model`, and of `filters.compare`; write the results."""
    options = config.filters
    configs = {"": config}
    if options.compare is not None:
        other = config.copy()
        with open_dict(other):
            other.ckpt = options.compare
        configs["_compared"] = other
    figures: dict[str, Image.Image] = {}
    statistics, networks, lines = [], [], []
    for suffix, of_network in configs.items():
        subject = load_subject(of_network)
        name = _name(of_network)
        one = describe(subject, name, options.rms_limit)
        dead = dead_feature_maps(of_network, subject)
        statistics.append(one)
        networks.append(_numbers(one, dead))
        figures |= {f"{key}{suffix}": sheet for key, sheet in _sheets(subject, name).items()}
        second = second_layer_projections(of_network, subject, name)
        if second is not None:
            figures[f"second_layer{suffix}"] = second
        lines += _lines(one, dead)
    figures["filter_statistics"] = filter_statistics_figure(statistics, rms_limit=options.rms_limit)
    result = {"rms_limit": options.rms_limit, "networks": networks}
    return finish(config, result, figures, lines)


def describe(subject: Subject, name: str, rms_limit: float) -> FilterStatistics:
    """Sizes and frequencies of a network's first layer."""
    first = first_layer(subject.network)
    content = frequency_content(first.weights, first.stride)
    scaled = renormalised(first.weights, rms_limit)
    return FilterStatistics(
        name,
        first.rms.numpy(),
        scaled.square().mean(dim=(1, 2, 3)).sqrt().numpy(),
        content.frequencies.numpy(),
        content.radial.numpy(),
        {
            **{band: float(share.mean()) for band, share in content.bands.items()},
            "aliased": float(content.aliased.mean()),
        },
        white_noise(first.stride),
        first.stride,
    )


def dead_feature_maps(config: DictConfig, subject: Subject) -> dict[str, Any] | None:
    """By layer, the feature maps that none of some images excites; None without images.

    The images are those of `images`, or the first `filters.images` of the checkpoint's data.
    """
    number = config.filters.images
    pixels: Tensor
    if config.images is not None:
        pixels = load_pictures(config, subject).pixels
    elif config.ckpt is not None and number > 0:
        pixels = pictures_of_dataset(config, range(number), subject.class_names).pixels
    else:
        return None
    observed = ObservedNetwork(subject.network)
    batches = (subject.prepare(some) for some in pixels.split(32))
    counts, images = images_that_excite(observed, batches, observed.hidden_convolutions)
    dead = {
        layer: {"feature_maps": len(found), "dead": (found == 0).nonzero()[:, 0].tolist()}
        for layer, found in counts.items()
    }
    return {"images": images, "layers": dead}


def second_layer_projections(config: DictConfig, subject: Subject, name: str) -> Image.Image | None:
    """Projections of the second layer in the last atlas of the checkpoint's run (Fig. 6 d and e).

    None without such an atlas.
    """
    if config.ckpt is None:
        return None
    files = epoch_files(run_folder(config.ckpt))
    layers = ObservedNetwork(subject.network).layers
    if not files or len(layers) < 2:
        return None
    atlas = Atlas.load(files[-1])
    found = atlas.layers.get(layers[1])
    if found is None or not len(found.drawn):
        return None
    shown = slice(0, SECOND_LAYER_MAPS)
    drawn = found.drawn[shown]
    return layer_panel(
        found.patches[shown].numpy(),
        found.projections[shown].numpy(),
        found.inside[shown].numpy(),
        found.activations[drawn].numpy(),
        feature_maps=drawn.tolist(),
        parts="projections",
        title=f"{layers[1]} of {name}",
        subtitle="projections of the strongest activations of some feature maps",
    )


def _sheets(subject: Subject, name: str) -> dict[str, Image.Image]:
    first = first_layer(subject.network)
    if first.weights.shape[1] not in (1, 3):
        return {}
    weights = first.weights[first.rms.argsort(descending=True, stable=True)].numpy()
    scales = {"filters": "each filter on its own scale", "filters_one_scale": "all on one scale"}
    return {
        figure: filter_sheet(
            weights,
            title=f"{first.name} of {name}",
            subtitle=f"{scale}, strongest first",
            shared_scale=figure == "filters_one_scale",
        )
        for figure, scale in scales.items()
    }


def _name(config: DictConfig) -> str:
    if config.ckpt is None:
        return str(config.model.name)
    return run_folder(config.ckpt).name or Path(str(config.ckpt)).name


def _numbers(one: FilterStatistics, dead: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "name": one.name,
        "filters": len(one.rms),
        "stride": list(one.stride),
        "rms": one.rms.tolist(),
        "rms_renormalised": one.renormalised_rms.tolist(),
        "strongest_over_median": dominance(one.rms),
        "strongest_over_median_renormalised": dominance(one.renormalised_rms),
        "share_of_power": dict(one.bands),
        "share_of_power_of_white_noise": dict(one.white_noise),
        "dead_feature_maps": dead,
    }


def _lines(one: FilterStatistics, dead: dict[str, Any] | None) -> list[str]:
    shares = ", ".join(
        f"{band} {100 * share:.0f} % ({100 * one.white_noise[band]:.0f} %)"
        for band, share in one.bands.items()
    )
    lines = [
        f"{one.name}: {len(one.rms)} filters, RMS {one.rms.min():.3g} to {one.rms.max():.3g}, the "
        f"strongest {dominance(one.rms) or float('inf'):.2g} times the median",
        f"  share of the power (of white noise): {shares}",
    ]
    if dead is not None:
        counts = ", ".join(
            f"{layer} {len(found['dead'])} of {found['feature_maps']}"
            for layer, found in dead["layers"].items()
            if found["dead"]
        )
        lines.append(f"  dead in {dead['images']} images: {counts or 'no feature map'}")
    return lines
