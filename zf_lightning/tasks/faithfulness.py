"""task=faithfulness: do projections mark what their units respond to, and are they their own?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from zf_lightning.analysis.faithfulness import (
    Faithfulness,
    faithfulness,
    projected_importances,
    trivial_importances,
)
from zf_lightning.analysis.intervals import Interval, mean_interval
from zf_lightning.analysis.specificity import Specificity, specificity
from zf_lightning.config.instantiate import plain
from zf_lightning.deconv import Deconvnet, Units
from zf_lightning.deconv.receptive_field import crop
from zf_lightning.errors import UserError
from zf_lightning.figures.comparison import Panel, Series, comparison_figure
from zf_lightning.figures.style import to_image
from zf_lightning.figures.unit_tiles import unit_tiles
from zf_lightning.inspection.outcome import facts, finish
from zf_lightning.inspection.subject import (
    Subject,
    configuration_to_inspect,
    layers_asked,
    load_subject,
)
from zf_lightning.inspection.top_images import chosen_maps, load_top_images, spread_indices
from zf_lightning.results.tables import Column, Table
from zf_lightning.training import build as assembly

#: Names of the tests, and how a person reads them.
TESTS = {
    "squares": "two squares, right",
    "beyond_others": "the same beyond other maps",
    "area": "area between curves",
}
MEASURES = {
    "unexplained": "unexplained",
    "cosine": "cosine",
    "cosine_contrastive": "cosine, contrastive",
    "magnitude_contrastive": "its magnitude",
}
Intervals = dict[str, Interval]
READING = (
    "two squares: of two squares of the receptive field, matched for distance from its centre, how "
    "often hiding the more important one lowers the unit more, each pair counting by how much they "
    "differ (0.5 says nothing); beyond other maps: lowers it more than all other active maps "
    "there; area: between the curves of the activation when the most important parts are shown "
    "first and hidden first (0 says nothing). Means over units with 95 % bootstrap intervals."
)
PAIRED = (
    "Means over units of the difference between two rankings of the same unit's pixels, with 95 % "
    "bootstrap intervals: one that holds 0 shows no difference."
)
SPECIFICITY = (
    "unexplained: share of a projection's squared norm that the {k} strongest other maps at the "
    "same place do not explain; cosine: with the projections of other maps active there, plain and "
    "when these {k} are taken away from both."
)


def run(config: DictConfig) -> dict[str, Any]:
    """Measure, print, draw, and write tables; returns the contents of `result.json`."""
    subject = load_subject(config)
    config = configuration_to_inspect(config)
    options = config.faithfulness
    methods = plain(options.methods)
    methods = [methods] if isinstance(methods, str) else methods
    # Before the data is prepared, which may take long: a mistake is reported at once.
    deconvnets = {
        method: Deconvnet(subject.network, method=method, norm=options.norm) for method in methods
    }
    if not deconvnets:
        raise UserError("faithfulness.methods is empty: name deconvnet, guided or gradient.")
    deconvnet = next(iter(deconvnets.values()))
    layers = layers_asked(options.layers, deconvnet.graph)
    deconvnet.receptive_fields(layers, (subject.input_size, subject.input_size))
    hiding = subject.grey(options.grey)
    files = assembly.build_source(config).split(options.split)
    chosen = spread_indices(files, options.images)
    images = load_top_images(files, chosen, subject.classifier)
    units = strongest_units(deconvnet, images.inputs, layers, number=options.maps, seed=config.seed)
    results, figures, lines = {}, {}, []
    with tqdm(total=len(layers) * (len(methods) + 1), desc="testing", unit="pass") as bar:
        for layer in layers:
            of_layer = _Layer(subject, deconvnets, images.inputs, units[layer], config, hiding, bar)
            results[layer] = of_layer.values(chosen)
            figures[layer] = of_layer.tiles(images.display)
            figures[f"{layer} tests"] = of_layer.intervals_figure()
            for table in of_layer.tables():
                table.write(Path(config.paths.run))
                lines += [f"\n{table.title}:", *table.lines()]
    result = {
        **facts(config, subject.classifier),
        "split": options.split,
        "images": len(chosen),
        "contrast": options.contrast,
        "norm": options.norm,
        "layers": results,
    }
    reading = f"\n{READING}\n{SPECIFICITY.format(k=options.contrast)}"
    return finish(config, result, figures, [*lines, reading])


def strongest_units(
    deconvnet: Deconvnet, images: Tensor, layers: Sequence[str], *, number: int, seed: int
) -> dict[str, Units]:
    """For some feature maps of each layer, drawn at random, the unit that an image excites most.

    Feature maps that no image excites are passed over. Raises UserError if there is no other.
    """
    top = deconvnet.top_activations(images.split(deconvnet.batch_size), layers=layers, k=1)
    found = {}
    for layer in layers:
        of_layer = top[layer]
        alive = (of_layer.activations[:, 0] > 0).nonzero()[:, 0].tolist()
        if not alive:
            raise UserError(f"No image excites a feature map of {layer}.")
        places = chosen_maps(min(number, len(alive)), len(alive), layer=layer, seed=seed)
        maps = torch.tensor([alive[place] for place in places])
        at = (of_layer.indices, of_layer.rows, of_layer.columns)
        image, row, column = (values[maps, 0].to(images.device) for values in at)
        found[layer] = Units(layer, image, maps.to(images.device), row, column)
    return found


class _Layer:
    """The units of one layer, tested."""

    def __init__(
        self,
        subject: Subject,
        deconvnets: dict[str, Deconvnet],
        images: Tensor,
        units: Units,
        config: DictConfig,
        hiding: Tensor,
        bar: tqdm,
    ) -> None:
        options = config.faithfulness
        self.units, self.contrast, self.shown = units, options.contrast, options.tiles
        self.deconvnet = next(iter(deconvnets.values()))
        size = (subject.input_size, subject.input_size)
        self.field = self.deconvnet.receptive_fields([units.layer], size)[units.layer]
        self.specificity: dict[str, Specificity] = {}
        importances: dict[str, Tensor] = {}
        for method, deconvnet in deconvnets.items():
            found = specificity(deconvnet, images, units, k=options.contrast, seed=config.seed)
            self.specificity[method] = found
            importances |= projected_importances(method, deconvnet, images, units, found)
            bar.update()
        importances |= trivial_importances(self.deconvnet, images, units, seed=config.seed)
        self.faithfulness: dict[str, Faithfulness] = faithfulness(
            self.deconvnet,
            images,
            units,
            importances,
            pairs=options.pairs,
            fill=hiding,
            seed=config.seed,
        )
        bar.update()

    def _intervals(self) -> dict[str, Intervals]:
        """Of each importance of pixels, by test."""
        return {
            name: {test: mean_interval(getattr(found, test).tolist()) for test in TESTS}
            for name, found in self.faithfulness.items()
        }

    def _differences(self) -> dict[str, Intervals]:
        """Of two importances, in the same units: narrower than the intervals of each suggest."""
        found = {}
        for method in self.specificity:
            for first, second in (
                (method, f"{method}, of another map"),
                (method, f"{method}, mean of other units"),
                (method, "centred blob"),
                (f"{method}, contrastive", method),
            ):
                one, other = self.faithfulness[first], self.faithfulness[second]
                found[f"{first} − {second}"] = {
                    test: mean_interval((getattr(one, test) - getattr(other, test)).tolist())
                    for test in TESTS
                }
        return found

    def _specificity_intervals(self) -> dict[str, Intervals]:
        """Of each method, by measure."""
        return {
            method: {
                "unexplained": mean_interval(found.share.tolist()),
                "cosine": mean_interval(found.cosines.nanmean(1).tolist()),
                "cosine_contrastive": mean_interval(found.contrastive_cosines.nanmean(1).tolist()),
                "magnitude_contrastive": mean_interval(
                    found.contrastive_cosines.abs().nanmean(1).tolist()
                ),
            }
            for method, found in self.specificity.items()
        }

    def values(self, indices: list[int]) -> dict[str, Any]:
        """What `result.json` holds of the layer; `indices` are the images' numbers in the split."""
        return {
            "receptive_field_pixels": list(self.field.size),
            "feature_maps": self.units.feature_maps.tolist(),
            "strongest_images": [indices[image] for image in self.units.images.tolist()],
            "faithfulness": _as_values(self._intervals()),
            "differences": _as_values(self._differences()),
            "specificity": _as_values(self._specificity_intervals()),
            "units": {
                name: {test: getattr(found, test).tolist() for test in TESTS}
                for name, found in self.faithfulness.items()
            },
        }

    def tables(self) -> list[Table]:
        """Of faithfulness, of differences in it, and of specificity."""
        of_units = f"of {len(self.units)} units of {self.units.layer}"
        note = SPECIFICITY.format(k=self.contrast)
        contents = (
            ("faithfulness", "pixels ranked by", TESTS, self._intervals(), READING),
            ("differences", "in the same units", TESTS, self._differences(), PAIRED),
            ("specificity", "projection", MEASURES, self._specificity_intervals(), note),
        )
        return [
            Table(
                name=f"{name}_{self.units.layer}",
                title=f"{name.capitalize()} {of_units}",
                columns=(heading, *_interval_columns(measures)),
                rows=tuple(
                    (row, *(number for one in found[row].values() for number in one))
                    for row in found
                ),
                notes=(reading,),
                decimals=2,
            )
            for name, heading, measures, found, reading in contents
        ]

    def intervals_figure(self) -> Image.Image:
        """The tests as dots with intervals."""
        panels = []
        intervals = self._intervals()
        for test, heading in TESTS.items():
            found = [of_name[test] for of_name in intervals.values()]
            ends = [(one.low, one.high) for one in found]
            panels.append(Panel(heading, [Series("mean", [one.mean for one in found], ends)]))
        return to_image(comparison_figure(list(self.faithfulness), panels))

    def tiles(self, display: Tensor) -> Image.Image:
        """Some units: patch, projection, and contrastive projection, with their numbers."""
        method, found = next(iter(self.specificity.items()))
        shown = self.units[: self.shown]
        number = len(shown)
        tops, lefts = self.field.tiles(shown.rows.cpu(), shown.columns.cpu())
        patches, inside = crop(display, shown.images.cpu(), tops, lefts, self.field.tile_size)
        right = self.faithfulness[method].squares.tolist()
        captions = [
            (f"map {feature_map}", f"right {faithful:.2f}", f"own {share:.1%}")
            for feature_map, faithful, share in zip(
                shown.feature_maps.tolist(), right[:number], found.share.tolist(), strict=False
            )
        ]
        return unit_tiles(
            patches.numpy(),
            [
                (method, found.plain[:number].numpy()),
                ("contrastive", found.contrastive[:number].numpy()),
            ],
            inside.numpy(),
            captions,
            title=shown.layer,
            subtitle=(
                f"{method} projections, plain and without the {self.contrast} strongest other "
                "maps; right: in tests with two squares; own: not explained by these maps"
            ),
        )


def _as_values(found: dict[str, Intervals]) -> dict[str, Any]:
    return {
        name: {test: interval._asdict() for test, interval in of_name.items()}
        for name, of_name in found.items()
    }


def _interval_columns(measures: dict[str, str]) -> list[Column]:
    return [
        Column(name if part == "mean" else f"{name}_{part}", heading, group=group)
        for name, group in measures.items()
        for part, heading in (("mean", "mean"), ("low", "from"), ("high", "to"))
    ]
