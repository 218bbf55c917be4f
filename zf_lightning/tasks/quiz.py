"""task=quiz: do pictures of a feature map tell what excites it?"""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from zf_lightning.analysis.intervals import Interval, mean_interval
from zf_lightning.analysis.quiz import (
    KINDS,
    OTHER,
    Encoder,
    Questions,
    answer,
    ask,
    askable,
)
from zf_lightning.data import Preprocessing
from zf_lightning.deconv import Deconvnet
from zf_lightning.errors import UserError
from zf_lightning.figures.comparison import Panel, Series, comparison_figure
from zf_lightning.figures.style import to_image
from zf_lightning.graph import Graph
from zf_lightning.inspection.encoder import network_encoder
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
    encode = _encoder(config, subject, deconvnet.graph)
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
        asked = ask(
            deconvnet,
            images.inputs,
            images.display,
            layer,
            found,
            tqdm(maps, desc=f"quiz, {layer}", unit="map"),
            k=options.references,
            trials=options.trials,
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


def _encoder(config: DictConfig, subject: Subject, graph: Graph) -> Encoder:
    """The network's own, or one of torchvision."""
    name, weights = config.quiz.encoder, config.quiz.encoder_weights
    if (name is None) != (weights is None):
        raise UserError("quiz.encoder and quiz.encoder_weights belong together: give both.")
    if name is None:
        return network_encoder(graph, subject.classifier.preprocessing)
    device = subject.classifier.device
    tensors = read_weights(weights)
    network = torchvision_network(name, 1000)
    load_weights(network, tensors, path=weights)
    prepare = Preprocessing(input_size=224, mean="imagenet", scale="imagenet")
    return network_encoder(Graph(network.eval().to(device)), prepare.to(device))
