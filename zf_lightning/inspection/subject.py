"""Network and images: what all tasks that inspect a trained network need."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zf_lightning.analysis.observed import ObservedNetwork
from zf_lightning.config.instantiate import plain
from zf_lightning.config.options import overridden
from zf_lightning.data.crops import centre_crop
from zf_lightning.data.decode import STORED_SIZE, load_image
from zf_lightning.data.sources.scan import image_names
from zf_lightning.data.summary import report_files
from zf_lightning.errors import UserError
from zf_lightning.graph import Graph, find_layers
from zf_lightning.models import classes_of, imagenet_class_names, load_weights, read_weights
from zf_lightning.system.cores import default_workers
from zf_lightning.system.devices import asks_for_several, chosen_device
from zf_lightning.system.processes import follow_loader
from zf_lightning.system.worker_sockets import check_temporary_folder
from zf_lightning.training import build as assembly
from zf_lightning.training.checkpoint import (
    check_same_classes,
    configuration_of,
    find_checkpoint,
    find_checkpoints,
    load_classifier,
)
from zf_lightning.training.module import ImageClassifier
from zf_lightning.training.network import build_blank_network, check_network

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pictures:
    """The images that a task inspects."""

    names: tuple[str, ...]
    #: `[N, 3, 256, 256]` uint8.
    pixels: Tensor
    #: The class of each; None where it is not known.
    labels: tuple[int | None, ...]


class Subject:
    """A trained network on its device, and its preprocessing of pictures."""

    def __init__(self, classifier: ImageClassifier, config: DictConfig) -> None:
        self.classifier = classifier.to(chosen_device(config.trainer))
        self.network = classifier.network
        self.class_names = classifier.class_names

    @property
    def input_size(self) -> int:
        """Height and width of the network's input in pixels."""
        return int(self.classifier.preprocessing.input_size)

    def prepare(self, pixels: Tensor) -> Tensor:
        """The network's input `[N, 3, S, S]` for pictures `[N, 3, 256, 256]` in 0..255."""
        with torch.no_grad():
            return self.classifier.preprocessing(pixels.to(self.classifier.device))

    def display(self, pixels: Tensor) -> Tensor:
        """The part of pictures that the network sees, uint8 `[N, 3, S, S]`, for display."""
        resized = self.classifier.preprocessing.resize(pixels.clamp(0, 255).to(torch.uint8))
        return centre_crop(resized, self.input_size).cpu()

    def grey(self, value: float) -> Tensor:
        """A grey of 0..255 in the values of the network's input, `[3, S, S]`."""
        if not 0 <= value <= 255:
            raise UserError(f"A grey of {value} is not between 0 and 255.")
        return self.prepare(torch.full((1, 3, STORED_SIZE, STORED_SIZE), float(value)))[0]

    def predicted(self, pixels: Tensor, batch_size: int = 32) -> list[int]:
        """The most probable class of each picture."""
        with torch.no_grad():
            scores = [self.network(self.prepare(some)) for some in pixels.split(batch_size)]
        return torch.cat(scores).argmax(1).tolist()


def square_size(size: int | None, subject: Subject) -> int:
    """The side of a square in pixels of the input: as asked for, or a seventh of the input.

    The paper does not state the size of its square.
    """
    return max(1, round(subject.input_size / 7)) if size is None else size


def load_subject(config: DictConfig) -> Subject:
    """The network of `ckpt`, or of `model` with its weights; raises UserError without either."""
    devices = plain(config.trainer.devices)
    if asks_for_several(devices):
        # They look at few images: to start the processes would take longer.
        log.warning(f"task={config.task.name} takes the first of trainer.devices={devices} alone.")
    return Subject(classifier_to_inspect(config), config)


def trained_networks(config: DictConfig) -> list[tuple[Path, ImageClassifier]]:
    """The networks of `ckpt`, one or a list, or that of `model.weights`, each with its file."""
    if config.ckpt is None:
        classifier = classifier_to_inspect(config)
        return [(Path(config.model.weights), classifier)]
    return [(path, load_classifier(path).eval()) for path in find_checkpoints(config.ckpt)]


def check_classes(
    config: DictConfig, path: Path, classifier: ImageClassifier, found: Sequence[str]
) -> None:
    """Raise UserError if the data has other classes, `found`, than the network of `path` knows.

    Of `model.weights` only their number is known: their order is taken to be that of the data.
    """
    known = classifier.class_names
    if config.ckpt is None and len(found) == len(known) and tuple(found) != known:
        classifier.class_names = tuple(found)
        log.info(
            f"{path} names no classes: its outputs are taken to be those of the data in order, "
            f"{found[0]}, {found[1]} … {found[-1]}."
        )
    check_same_classes(path, known=classifier.class_names, found=found)


def classifier_to_inspect(config: DictConfig) -> ImageClassifier:
    """The trained network of `ckpt`, or of `model` with `model.weights`, in evaluation mode.

    Weights bring no class names: a thousand classes get ImageNet's, others their numbers.
    Raises UserError if there are no weights, or they belong to another network.
    """
    if config.ckpt is not None:
        return load_classifier(find_checkpoint(config.ckpt)).eval()
    path = config.model.weights
    if path is None:
        raise UserError(
            "This task needs a trained network: give ckpt=FILE or RUN_FOLDER, or model=torchvision "
            "model.name=NAME model.weights=FILE."
        )
    model, weights = assembly.build_model_options(config), read_weights(path)
    if model["preprocessing"]["mean"] in ("pixel", "channel") or (
        model["preprocessing"]["scale"] == "std"
    ):
        raise UserError(
            f"{path} brings no statistics of training images: say what the network expects, "
            "as model.preprocessing.mean=imagenet model.preprocessing.scale=imagenet."
        )
    # Where the last layer is not among the weights, loading them says what they are.
    classes = classes_of(weights, build_blank_network(model, classes=1000), classes=1000)
    names = imagenet_class_names() if classes == 1000 else list(map(str, range(classes)))
    classifier = ImageClassifier(model, names, seed=config.seed)
    load_weights(classifier.network, weights, path=path)
    check_network(classifier.network, input_size=model["input_size"], classes=classes)
    return classifier.eval()


def configuration_to_inspect(config: DictConfig) -> DictConfig:
    """The configuration with the data of `ckpt`, where the command line does not say otherwise.

    Of several checkpoints the first counts.
    """
    if config.ckpt is None:
        return config
    overrides = overridden(config)
    return configuration_of(find_checkpoints(config.ckpt)[0], config, overrides)


def load_pictures(config: DictConfig, subject: Subject) -> Pictures:
    """The pictures of `images`, with the classes of the data, of their folders, or of `label`.

    Raises UserError if there are none, or one cannot be read.
    """
    asked = plain(config.images)
    if asked is None:
        raise UserError(
            "This task needs images: give images=FILE, images=FOLDER, or numbers of images of "
            "the data's split, as images=[0,7] split=test."
        )
    items = asked if isinstance(asked, list) else [asked]
    if items and all(isinstance(item, int) for item in items):
        return pictures_of_dataset(config, items, subject.class_names)
    ignored: Counter[str] = Counter()
    files = [f for item in items for f in image_files(Path(str(item)).expanduser(), ignored)]
    if not files:
        raise UserError(f"images={config.images} contains no images.")
    report_files(f"images={config.images}", files, ignored, Path(config.paths.run))
    given = None if config.label is None else label_of(config.label, subject.class_names)
    labels = tuple(
        _label_of_folder(file, subject.class_names) if given is None else given for file in files
    )
    pixels = torch.stack([load_image(file) for file in files])
    return Pictures(tuple(file.name for file in files), pixels, labels)


def pictures_of_dataset(
    config: DictConfig, numbers: Sequence[int], class_names: Sequence[str]
) -> Pictures:
    """Images of the split `split` of the checkpoint's data, or of `data`.

    Their classes are known if the data has the network's `class_names`.
    Raises UserError if there is no such image, or a checkpoint was trained on other classes.
    """
    config = configuration_to_inspect(config)
    source = assembly.build_source(config)
    if config.ckpt is not None:
        path = find_checkpoint(config.ckpt)
        check_same_classes(path, known=class_names, found=source.class_names)
    # ImageNet's 1,000 classes come in one order, under names of several kinds.
    known = tuple(source.class_names) == tuple(class_names) or (
        len(source.class_names) == len(class_names) == 1000
    )
    files = source.split(config.split)
    missing = [number for number in numbers if not 0 <= number < len(files)]
    if missing:
        raise UserError(
            f"There is no image {missing[0]}: {config.split} has {len(files)}, from 0 on."
        )
    samples = [files[number] for number in numbers]
    return Pictures(
        tuple(f"{config.split} {number}" for number in numbers),
        torch.stack([image for image, *_ in samples]),
        tuple(int(label) if known else None for _, label, *_ in samples),
    )


def image_files(path: Path, ignored: Counter[str] | None = None) -> list[Path]:
    """A file itself, or the image files of a folder and its folders, in order.

    `ignored` counts what is left out, by the reason.
    Raises UserError if there is nothing at `path`.
    """
    if path.is_dir():
        return [path / name for name in image_names(path, ignored=ignored)]
    if not path.exists():
        raise UserError(f"images: {path} does not exist.")
    return [path]


def label_of(label: Any, class_names: Sequence[str]) -> int:
    """The class with the number or the name `label`, or with that synonym.

    Raises UserError if there is none, or more than one.
    """
    text = str(label).strip().lower()
    if text.isdigit() and int(text) < len(class_names):
        return int(text)
    exact = [number for number, name in enumerate(class_names) if name.lower() == text]
    synonyms = [
        number
        for number, name in enumerate(class_names)
        if text in (part.strip().lower() for part in name.split(","))
    ]
    found = exact or synonyms
    if len(found) != 1:
        what = "more than one class" if found else "no class"
        raise UserError(f"label={label} means {what} of the network; give its number.")
    return found[0]


def _label_of_folder(file: Path, class_names: Sequence[str]) -> int | None:
    name = file.parent.name
    return class_names.index(name) if name in class_names else None


def layers_asked(asked: Any, graph: Graph) -> list[str]:
    """The layers that an option names: `last`, the last hidden convolution, or as `find_layers`."""
    asked = plain(asked)
    if asked == "last":
        return [ObservedNetwork(graph).last_convolution]
    return find_layers(graph, asked)


def file_loader(
    config: DictConfig, files: Dataset, *, batch_size: int | None = None, **options: Any
) -> DataLoader:
    """Every sample of some files in their order, whatever their number; the last batch is short.

    Raises UserError where workers could not hand over what they read.
    """
    workers = default_workers(config.data.workers)
    if workers:
        check_temporary_folder()
    return DataLoader(
        files,
        batch_size=config.data.batch_size if batch_size is None else batch_size,
        num_workers=workers,
        worker_init_fn=follow_loader,
        **options,
    )
