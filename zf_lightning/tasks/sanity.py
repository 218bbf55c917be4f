"""task=sanity: projections of networks with randomised layers (Adebayo et al., 2018)."""

import math
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from omegaconf import DictConfig
from tqdm import tqdm

from zf_lightning.analysis import ObservedNetwork, Randomisation, randomise_layers, strongest_units
from zf_lightning.config.instantiate import plain
from zf_lightning.deconv import Deconvnet
from zf_lightning.errors import UserError
from zf_lightning.figures.comparison import Panel, Series, comparison_figure
from zf_lightning.figures.style import to_image
from zf_lightning.inspection.outcome import facts, finish
from zf_lightning.inspection.subject import configuration_to_inspect, load_subject
from zf_lightning.inspection.top_images import load_top_images, spread_indices
from zf_lightning.results.tables import Cell, Table
from zf_lightning.training import build as assembly

#: The row of projections that share only their place.
OTHER_MAPS = "none: other feature maps"
READING = (
    "signed, absolute: Spearman's rank correlation of the values, and of their magnitudes, inside "
    "the receptive field; SSIM: structural similarity of the pictures. The first three with the "
    "layer and all above it randomised, then with the layer alone. The last row compares, in the "
    "trained network, with other feature maps at the same place: at its level nothing is left that "
    "belongs to the unit."
)
KNOWN = (
    "Known of the methods: pictures by guided backpropagation hardly change when the higher layers "
    "are randomised, while those by the gradient do (Adebayo et al., Sanity Checks for Saliency "
    "Maps, 2018). In the theory of Nie et al. (A Theoretical Explanation for Perplexing Behaviors "
    "of Backpropagation-based Visualizations, 2018) guided backpropagation and the deconvnet "
    "partly recover the image, whatever the network has learnt to tell apart."
)
MEASURES = {"signed": "signed", "absolute": "absolute", "ssim": "SSIM"}
AXES = {
    "signed": "rank correlation",
    "absolute": "rank correlation of magnitudes",
    "ssim": "structural similarity",
}


def run(config: DictConfig) -> dict[str, Any]:
    """Randomise, compare, print and write the tables; returns the contents of `result.json`."""
    folder = Path(config.paths.run)
    classifier = load_subject(config).classifier
    config = configuration_to_inspect(config)
    options = config.sanity
    methods = plain(options.methods)
    methods = [methods] if isinstance(methods, str) else methods
    network = classifier.network
    # Before the data is prepared, which may take long: a mistake is reported at once.
    deconvnets = {
        method: Deconvnet(network, method=method, norm=options.norm) for method in methods
    }
    if not deconvnets:
        raise UserError("sanity.methods is empty: name deconvnet, guided or gradient.")
    deconvnet = next(iter(deconvnets.values()))
    layer = options.layer
    if layer == "last":
        layer = ObservedNetwork(deconvnet.graph).last_convolution
    size = classifier.preprocessing.input_size
    deconvnet.receptive_fields([layer], (size, size))
    files = assembly.build_source(config).split(options.split)
    chosen = spread_indices(files, options.images)
    images = load_top_images(files, chosen, classifier).inputs
    units = strongest_units(deconvnet, images, layer, number=options.units, seed=config.seed)
    found = {}
    with tqdm(desc="randomising", unit="layer") as bar:
        for method in methods:
            found[method] = randomise_layers(
                network,
                images,
                units,
                method=method,
                norm=options.norm,
                seed=config.seed,
                on_layer=bar.update,
            )
    tables = [_table(method, layer, of_method, len(units)) for method, of_method in found.items()]
    for table in tables:
        table.write(folder)
    result = {
        **facts(config, classifier),
        "split": options.split,
        "images": len(chosen),
        "layer": layer,
        "feature_maps": units.feature_maps.tolist(),
        "norm": options.norm,
        "rules": {method: _values(of_method) for method, of_method in found.items()},
        "known": KNOWN,
    }
    lines = ["\n".join([f"\n{one.title}:", *one.lines(), one.notes[1]]) for one in tables]
    figures = {f"sanity_{layer}": to_image(_figure(found))}
    return finish(config, result, figures, [*lines, f"\n{READING}\n\n{KNOWN}"])


def _figure(found: dict[str, Randomisation]) -> Figure:
    """What is left of the projections while more and more layers are randomised, from above."""
    rows = {
        method: [*(one.cascading.means() for one in of_method.layers), of_method.other_maps.means()]
        for method, of_method in found.items()
    }
    labels = [f"{one.layer} and all above" for one in next(iter(found.values())).layers]
    panels = [
        Panel(words, [Series(method, [row[name] for row in of]) for method, of in rows.items()])
        for name, words in AXES.items()
    ]
    return comparison_figure([*labels, OTHER_MAPS], panels)


def _values(found: Randomisation) -> dict[str, Any]:
    return {
        "layers": [
            {
                "layer": one.layer,
                "cascading": _finite(one.cascading.means()),
                "independent": _finite(one.independent.means()),
            }
            for one in found.layers
        ],
        "other_feature_maps": _finite(found.other_maps.means()),
    }


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _table(method: str, layer: str, found: Randomisation, units: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for one in found.layers:
        parts = [part.means() for part in (one.cascading, one.independent)]
        rows.append((one.layer, *(part[name] for part in parts for name in MEASURES)))
    other = found.other_maps.means()
    rows.append((OTHER_MAPS, *(other[name] for name in MEASURES), None, None, None))
    counted = [one.cascading.means()["units"] for one in found.layers]
    empty = units * len(counted) - int(sum(counted))
    return Table(
        name=f"sanity_{method}",
        title=(
            f"{method}: projections of {units} units of {layer} beside those of the trained "
            "network, when layers below are randomised"
        ),
        columns=(
            "randomised",
            *MEASURES.values(),
            *(f"{name}, alone" for name in MEASURES.values()),
        ),
        rows=tuple(rows),
        notes=(
            READING,
            f"Means over the units; {empty} of {units * len(counted)} projections down to a layer "
            "were empty and do not count.",
            KNOWN,
        ),
        decimals=2,
    )
