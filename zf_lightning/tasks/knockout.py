"""task=knockout: which answers change when a feature map is replaced?"""

from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from zf_lightning.analysis import ObservedNetwork
from zf_lightning.analysis.intervals import Interval, mean_interval
from zf_lightning.analysis.knockout import Effects, Knockouts, Ranked, knock_out, rank_images
from zf_lightning.config.instantiate import plain
from zf_lightning.errors import UserError
from zf_lightning.figures.comparison import Panel, Series, comparison_figure
from zf_lightning.figures.ranked_images import ranked_images
from zf_lightning.figures.style import first_name, shortened, to_image
from zf_lightning.graph import capture
from zf_lightning.inspection.outcome import facts, finish
from zf_lightning.inspection.subject import (
    Subject,
    configuration_to_inspect,
    layers_asked,
    load_subject,
)
from zf_lightning.inspection.top_images import chosen_maps, load_top_images, spread_indices
from zf_lightning.results.tables import Cell, Column, Table
from zf_lightning.training import build as assembly

WORDS = {"zero": "set to 0", "mean": "set to its mean", "resample": "of another image"}
READING = (
    "fall: of the log-probability of the network's own answer when the map is replaced, in nats; "
    "mean over {images} images with its 95 % bootstrap interval. By the first replacement: "
    "changed: answers that become others, in percent; loses, gains: the class whose probability "
    "falls or rises most, in images; top {k} shared: the part of the images that excite the map "
    "most that is also among those whose answers depend on it most (by chance {chance:.2f}); "
    "correlation: Spearman's, of the two over all images."
)


def run(config: DictConfig) -> dict[str, Any]:
    """Replace maps one by one, print, draw, and write tables; returns what `result.json` holds."""
    subject = load_subject(config)
    config = configuration_to_inspect(config)
    options = config.knockout
    network = ObservedNetwork(subject.network)
    # Before the data is prepared, which may take long: a mistake is reported at once.
    layers = layers_asked(options.layers, network.graph)
    files = assembly.build_source(config).split(options.split)
    chosen = spread_indices(files, options.images)
    count = len(chosen)
    if count < 2:
        raise UserError("task=knockout needs at least two images.")
    images = load_top_images(files, chosen, subject.classifier)
    first = capture(network.graph, images.inputs[:1], layers)[1]
    maps = {
        layer: chosen_maps(
            plain(options.maps),
            first[layer].shape[1],
            layer=layer,
            seed=config.seed,
            option="knockout.maps",
        )
        for layer in layers
    }
    batches = -(-count // config.data.batch_size)
    results, figures, lines = {}, {}, []
    passes = sum(map(len, maps.values())) * batches
    with tqdm(total=passes, desc="replacing maps", unit="pass") as bar:
        for layer in layers:
            found = knock_out(
                network,
                images.inputs,
                layer,
                maps[layer],
                replacements=_several(options.replace),
                batch_size=config.data.batch_size,
                seed=config.seed,
                on_pass=bar.update,
            )
            of_layer = _Layer(layer, found, subject, top=options.top)
            results[layer] = of_layer.values()
            figures[layer] = of_layer.pictures(images.display, options.tiles)
            figures[f"{layer} effects"] = of_layer.effects_figure()
            table = of_layer.table()
            table.write(Path(config.paths.run))
            lines += [f"\n{table.title}:", *table.lines(), "", *of_layer.summary_lines()]
    result = {
        **facts(config, subject.classifier),
        "split": options.split,
        "images": count,
        "layers": results,
    }
    reading = READING.format(images=count, k=options.top, chance=min(1.0, options.top / count))
    return finish(config, result, figures, [*lines, f"\n{reading}"])


def _several(value: Any) -> list[str]:
    value = plain(value)
    return [value] if isinstance(value, str) else value


class _Layer:
    """The knock-outs of one layer, as numbers, words and pictures."""

    def __init__(self, layer: str, found: Knockouts, subject: Subject, *, top: int) -> None:
        self.layer, self.found, self.top = layer, found, top
        self.class_names = subject.class_names
        self.first: Effects = next(iter(found.effects.values()))
        self.ranked: Ranked = rank_images(found.activations, self.first.fall, k=top)
        self.falls: dict[str, list[Interval]] = {
            replacement: [mean_interval(row) for row in effects.fall.tolist()]
            for replacement, effects in found.effects.items()
        }
        #: Places of the maps, that with the largest effect first.
        self.order: list[int] = self.first.fall.mean(1).argsort(descending=True).tolist()

    def summary(self) -> dict[str, Interval]:
        """Means over the maps: what a map of this layer does."""
        falls = {
            f"fall, {WORDS[replacement]}": mean_interval(effects.fall.mean(1).tolist())
            for replacement, effects in self.found.effects.items()
        }
        return falls | {
            "answers changed (%)": mean_interval(self._changed().tolist()),
            f"top {self.top} shared": mean_interval(self.ranked.shared.tolist()),
            "correlation": mean_interval(self.ranked.correlation.tolist()),
        }

    def summary_lines(self) -> list[str]:
        """The summary as text."""
        head = f"Means over {len(self.found.maps)} maps of {self.layer}, with 95 % intervals:"
        return [
            head,
            *(
                f"  {name}: {mean:.3f} [{low:.3f}, {high:.3f}]"
                for name, (mean, low, high) in self.summary().items()
            ),
        ]

    def values(self) -> dict[str, Any]:
        """What `result.json` holds of the layer."""
        return {
            "feature_maps": list(self.found.maps),
            "summary": {name: value._asdict() for name, value in self.summary().items()},
            "fall": {
                name: [interval._asdict() for interval in of_maps]
                for name, of_maps in self.falls.items()
            },
            "answers_changed_percent": self._changed().tolist(),
            "top_shared": self.ranked.shared.tolist(),
            "correlation": self.ranked.correlation.tolist(),
        }

    def table(self) -> Table:
        """A row for each map, that with the largest effect first."""
        columns = [Column("map")]
        for name in self.falls:
            for part, heading in (("mean", "fall"), ("low", "from"), ("high", "to")):
                columns.append(Column(f"{name}_{part}", heading, group=WORDS[name], decimals=3))
        columns += [Column("changed_percent", "changed", decimals=1)]
        columns += [Column(name, missing="–") for name in ("loses", "gains")]
        columns += [Column("top_shared", f"top {self.top} shared"), Column("correlation")]
        rows: list[tuple[Cell, ...]] = []
        for place in self.order:
            falls = [number for of_maps in self.falls.values() for number in of_maps[place]]
            rows.append(
                (
                    self.found.maps[place],
                    *falls,
                    float(self._changed()[place]),
                    self._class(self.first.gained[place], least=True),
                    self._class(self.first.gained[place], least=False),
                    float(self.ranked.shared[place]),
                    float(self.ranked.correlation[place]),
                )
            )
        images = self.first.fall.shape[1]
        return Table(
            name=f"knockout_{self.layer}",
            title=f"{len(rows)} feature maps of {self.layer}, each replaced",
            columns=tuple(columns),
            rows=tuple(rows),
            notes=(READING.format(images=images, k=self.top, chance=min(1.0, self.top / images)),),
            decimals=2,
        )

    def effects_figure(self) -> Image.Image:
        """The fall of each map, with intervals, by replacement."""
        shown = self.order[:24]
        series = [
            Series(
                WORDS[name],
                [of_maps[place].mean for place in shown],
                [(of_maps[place].low, of_maps[place].high) for place in shown],
            )
            for name, of_maps in self.falls.items()
        ]
        names = [f"map {self.found.maps[place]}" for place in shown]
        return to_image(comparison_figure(names, [Panel("fall (nats)", series)]))

    def pictures(self, display: Tensor, number: int) -> Image.Image:
        """Images by activation and by effect, of the maps with the largest effect."""
        shown = self.order[:number]
        rankings = (
            ("excite the map most", self.ranked.by_activation),
            ("depend on the map most", self.ranked.by_relevance),
        )
        captions = [
            (
                f"map {self.found.maps[place]}",
                f"fall {self.falls[next(iter(self.falls))][place].mean:.3f}",
                f"loses {self._class(self.first.gained[place], least=True) or 'nothing'}",
                f"gains {self._class(self.first.gained[place], least=False) or 'nothing'}",
            )
            for place in shown
        ]
        return ranked_images(
            [(name, display[ranking[shown]].numpy()) for name, ranking in rankings],
            captions,
            title=self.layer,
            subtitle=(
                f"maps {WORDS[next(iter(self.falls))]}, those with the largest effect; beside "
                "each the class that loses and that which gains most, in images"
            ),
        )

    def _changed(self) -> Tensor:
        return 100 * (self.first.answers != self.found.answers).double().mean(1)

    def _class(self, gained: Tensor, *, least: bool) -> str | None:
        """The class that loses or gains most, and how much."""
        number = int(gained.argmin() if least else gained.argmax())
        if not torch.any(gained):
            return None
        name = shortened(first_name(self.class_names[number]), 20)
        return f"{name} {abs(float(gained[number])):.2f}"
