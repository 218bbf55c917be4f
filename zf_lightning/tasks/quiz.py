"""task=quiz: do pictures of a feature map tell what excites it?"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from zf_lightning.analysis import ObservedNetwork
from zf_lightning.analysis.intervals import Interval, mean_interval
from zf_lightning.analysis.quiz import KINDS, OTHER, Encoder, Questions, answer, askable, questions
from zf_lightning.data import Preprocessing
from zf_lightning.deconv import Deconvnet, Units
from zf_lightning.errors import UserError
from zf_lightning.figures.comparison import Panel, Series, comparison_figure
from zf_lightning.figures.style import to_image
from zf_lightning.graph import capture
from zf_lightning.inspection.outcome import facts, finish
from zf_lightning.inspection.subject import (
    Subject,
    configuration_to_inspect,
    layers_asked,
    load_subject,
)
from zf_lightning.inspection.top_images import chosen_maps, load_top_images, spread_indices
from zf_lightning.models import load_weights, read_weights
from zf_lightning.models.torchvision_network import torchvision_network
from zf_lightning.report.quiz_page import choose_trials, remove_quiz, write_quiz
from zf_lightning.results.tables import Column, Table
from zf_lightning.training import build as assembly

#: Pictures that go through the encoder together.
BATCH = 32
READING = (
    "right: how often, of two further patches, the one that excites the feature map is more like "
    "the references; 0.5 is chance. Mean over feature maps with its 95 % bootstrap interval. "
    "of another map: the references of another feature map of the layer."
)
PAIRED = "Differences in the same questions: one whose interval holds 0 shows none."


def run(config: DictConfig) -> dict[str, Any]:
    """Ask, print, draw, and write tables; returns what `result.json` holds."""
    subject = load_subject(config)
    config = configuration_to_inspect(config)
    options = config.quiz
    deconvnet = Deconvnet(subject.network, method=options.method, norm=options.norm)
    # Before the data is prepared, which may take long: a mistake is reported at once.
    layers = layers_asked(options.layers, deconvnet.graph)
    encode = _encoder(config, subject)
    files = assembly.build_source(config).split(options.split)
    chosen = spread_indices(files, options.images)
    count = len(chosen)
    needed = options.references + 2 * options.trials
    if count < needed:
        raise UserError(
            f"{count} images are too few for {options.references} references and "
            f"{options.trials} trials, which need {needed}: ask for fewer of these."
        )
    images = load_top_images(files, chosen, subject.classifier)
    batches = images.inputs.split(deconvnet.batch_size)
    top = deconvnet.top_activations(batches, layers=layers, k=count)
    size = (subject.input_size, subject.input_size)
    fields = deconvnet.receptive_fields(layers, size)
    results: dict[str, Any] = {}
    figures: dict[str, Image.Image] = {}
    lines: list[str] = []
    people: dict[str, tuple[list[int], list[Questions]]] = {}
    for layer in layers:
        found = top[layer].cpu()
        usable = askable(found.activations, k=options.references, trials=options.trials)
        possible = usable.nonzero()[:, 0].tolist()
        if not possible:
            raise UserError(
                f"No feature map of {layer} is excited by {options.references + options.trials} "
                f"of {count} images: take more images, or fewer references and trials."
            )
        places = chosen_maps(
            min(options.maps, len(possible)), len(possible), layer=layer, seed=config.seed
        )
        maps = [possible[place] for place in places]
        asked = []
        for number in tqdm(maps, desc=f"quiz, {layer}", unit="map"):
            order = (found.indices, found.rows, found.columns)
            image, row, column = (values[number].to(images.inputs.device) for values in order)
            units = Units(layer, image, torch.full_like(image, number), row, column)
            asked.append(
                questions(
                    deconvnet,
                    images.inputs,
                    images.display,
                    units,
                    fields[layer],
                    k=options.references,
                    trials=options.trials,
                )
            )
        people[layer] = (maps, asked)
        right = {name: values.mean(1) for name, values in answer(asked, encode).items()}
        intervals = {name: mean_interval(values.tolist()) for name, values in right.items()}
        differences = _differences(right)
        results[layer] = {
            "feature_maps": maps,
            "excited_enough": len(possible),
            "right": {name: interval._asdict() for name, interval in intervals.items()},
            "differences": {name: interval._asdict() for name, interval in differences.items()},
            "maps": {name: values.tolist() for name, values in right.items()},
        }
        for name, of_layer, heading, note in (
            ("quiz", intervals, "references", READING),
            ("quiz_differences", differences, "in the same questions", PAIRED),
        ):
            table = _table(f"{name}_{layer}", layer, len(maps), of_layer, heading, note)
            table.write(Path(config.paths.run))
            lines += [f"\n{table.title}:", *table.lines()]
        ends = [(one.low, one.high) for one in intervals.values()]
        series = Series("mean", [one.mean for one in intervals.values()], ends)
        figures[layer] = to_image(comparison_figure([*intervals], [Panel("right", [series])]))
    result = {
        **facts(config, subject.classifier),
        "split": options.split,
        "images": count,
        "method": options.method,
        "encoder": options.encoder or "the network's own features",
        "layers": results,
    }
    remove_quiz(Path(config.paths.run))
    if options.people:
        trials = choose_trials(people, options.people, seed=config.seed)
        machine = {
            layer: {kind: found["right"][kind]["mean"] for kind in KINDS}
            for layer, found in results.items()
        }
        page = write_quiz(Path(config.paths.run), trials, people, machine)
        lines.append(f"\nThe questions for people: {page}")
    return finish(config, result, figures, [*lines, f"\n{READING} {PAIRED}"])


def _differences(right: dict[str, Tensor]) -> dict[str, Interval]:
    """What the projections add, and whether the references are the map's own."""
    pairs = [("both", "patches"), ("projections", "patches")]
    pairs += [(kind, OTHER.format(kind)) for kind in KINDS]
    return {
        f"{first} − {second}": mean_interval((right[first] - right[second]).tolist())
        for first, second in pairs
    }


def _table(
    name: str, layer: str, maps: int, found: dict[str, Interval], heading: str, note: str
) -> Table:
    return Table(
        name=name,
        title=f"Quiz about {maps} feature maps of {layer}",
        columns=(heading, Column("right"), Column("low", "from"), Column("high", "to")),
        rows=tuple((row, *interval) for row, interval in found.items()),
        notes=(note,),
        decimals=3,
    )


def _encoder(config: DictConfig, subject: Subject) -> Encoder:
    """What goes into the last layer of the network, or of one of torchvision, over positions."""
    name, weights = config.quiz.encoder, config.quiz.encoder_weights
    if (name is None) != (weights is None):
        raise UserError("quiz.encoder and quiz.encoder_weights belong together: give both.")
    device = subject.classifier.device
    network: nn.Module = subject.network
    prepare: nn.Module = subject.classifier.preprocessing
    if name is not None:
        tensors = read_weights(weights)
        network = torchvision_network(name, 1000)
        load_weights(network, tensors, path=weights)
        network = network.eval().to(device)
        prepare = Preprocessing(input_size=224, mean="imagenet", scale="imagenet").to(device)
    graph = ObservedNetwork(network).graph
    last = graph.node(graph.layers[-1])
    while not graph.is_layer(last):
        last = last.all_input_nodes[0]
    below = graph.sources(last)[0].name

    def encode(pictures: Tensor) -> Tensor:
        found = []
        for some in pictures.split(BATCH):
            # The stored size, of which the preprocessing takes the centre.
            stored = F.interpolate(some.float().to(device), (256, 256), mode="bilinear")
            with torch.no_grad():
                inputs = prepare(stored)
            features = capture(graph, inputs, [below], only=True)[1][below]
            found.append(features.flatten(2).mean(2) if features.dim() > 2 else features)
        return torch.cat(found)

    return encode
