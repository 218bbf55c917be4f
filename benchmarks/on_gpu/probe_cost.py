"""What the probe costs on a GPU: in validation, and for projecting the whole atlas."""

import argparse
import functools
import statistics
import warnings
from collections.abc import Callable

import torch
from deconvnet import check_equal, make_sides, maps_of, pictures, top_units
from training import now

from on_gpu.command import (
    Command,
    autocast,
    begin,
    fast_classifier,
    print_rates,
    random_batch,
    ratio,
    spread,
    take_turns,
)
from zf_lightning.atlas import TopActivations
from zf_lightning.data import Batch
from zf_lightning.deconv import Deconvnet
from zf_lightning.training.module import ImageClassifier


def run(options: argparse.Namespace) -> None:
    """Measure both."""
    device = begin(options)
    with torch.inference_mode():
        compare_validation(options, device)
    compare_projection(options, device)


def compare_validation(options: argparse.Namespace, device: torch.device) -> None:
    """Validation with and without all feature maps watched; peak memory too."""
    classifier = fast_classifier(options, device).eval()
    counts = maps_of(classifier.network)
    deconvnet = Deconvnet(classifier.network)
    top = TopActivations(counts).to(device)
    layers = tuple(counts)
    eagerly = functools.partial(deconvnet.with_feature_maps, layers=layers)
    # As the probe watches: callbacks/deconv_probe.py.
    watch = deconvnet.compiled_with_feature_maps(layers) if options.compile else eagerly
    batches = [random_batch(options, device)] * options.batches
    sides: dict[str, Callable[[], float]] = {
        "validation": lambda: validate(classifier, batches, None, watch),
        "validation, watched": lambda: validate(classifier, batches, top, watch),
        "watched, node by node": lambda: validate(classifier, batches, top, eagerly),
    }
    found = take_turns(sides, options.repetitions)
    print(f"validation, {sum(counts.values()):,} feature maps watched")
    print_rates(found, options.batches * options.batch_size, "images")
    watched = ratio(found, "validation, watched", "validation")
    print(f"  time watched / not watched {watched}: at most 1.05")
    print(f"  node by node / not watched {ratio(found, 'watched, node by node', 'validation')}")
    if device.type == "cuda":
        for name, side in sides.items():
            torch.cuda.reset_peak_memory_stats(device)
            side()
            print(
                f"  peak memory, {name}: {torch.cuda.max_memory_allocated(device) / 2**20:.0f} MB"
            )


def validate(
    classifier: ImageClassifier,
    batches: list[Batch],
    top: TopActivations | None,
    watch: Callable[..., tuple[torch.Tensor, dict[str, torch.Tensor]]],
) -> float:
    """Seconds of the validation steps, the top activations empty at first."""
    classifier.capture = None if top is None else watch
    classifier.val_error.reset()
    if top is not None:
        top.reset()
    began = now(classifier.device)
    with autocast(classifier.device):
        for number, batch in enumerate(batches):
            outputs = classifier.validation_step(batch, number)
            if top is not None:
                top.update(outputs, batch.indices, batch.valid)
    return now(classifier.device) - began


def compare_projection(options: argparse.Namespace, device: torch.device) -> None:
    """The top 9 of every feature map projected; Captum on a part, extrapolated by layers."""
    warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU")
    torch.backends.cudnn.allow_tf32 = False
    network = fast_classifier(options, device).network
    images = pictures(options.images).to(device)
    if options.input_size != images.shape[-1]:
        images = torch.nn.functional.interpolate(images, size=options.input_size)
    counts = maps_of(network)
    sides = make_sides(network, batch_size=options.project_batch)
    some = top_units(network, images, maps=options.maps, top=9)
    check_equal({name: sides[name] for name in ("ours", "Captum batched")}, images, some)
    every = top_units(network, images, maps=None, top=9)
    units = sum(len(of_layer) for of_layer in every.values())
    whole: list[float] = []
    ours: dict[str, list[float]] = {layer: [] for layer in counts}
    captum: dict[str, list[float]] = {layer: [] for layer in counts}

    def seconds(project: Callable[..., object], *arguments: object) -> float:
        began = now(device)
        project(*arguments)
        return now(device) - began

    for repetition in range(options.repetitions + 1):
        all_layers = 0.0
        for layer in counts:
            of_layer = seconds(sides["ours"], images, every[layer])
            all_layers += of_layer
            theirs = seconds(sides["Captum batched"], images, some[layer]) / len(some[layer])
            if repetition:
                ours[layer].append(of_layer)
                captum[layer].append(theirs * len(every[layer]))
        if repetition:
            whole.append(all_layers)
    print(f"atlas, {units:,} units of {sum(counts.values()):,} feature maps, float32")
    print(f"  ours   {spread(whole, '.2f')} s")
    extrapolated = [
        sum(values[number] for values in captum.values()) for number in range(len(whole))
    ]
    part = sum(len(of_layer) for of_layer in some.values())
    print(f"  Captum {spread(extrapolated, '.2f')} s, of {part} units, extrapolated in each layer")
    ratios = [theirs / own for theirs, own in zip(extrapolated, whole, strict=True)]
    print(f"  Captum / ours {spread(ratios, '.1f')}: at least 5")
    for layer in counts:
        own, theirs = (statistics.median(side[layer]) for side in (ours, captum))
        print(f"  {layer}: ours {own:.2f} s, Captum {theirs:.2f} s, {theirs / own:.1f} times")


COMMAND = Command(
    """Validation with all feature maps of the convolutions watched against validation without, at
the preset; and the projection of the top 9 of every feature map against Captum's
NeuronDeconvolution in batches on the same GPU, with unit seeds, through the derivative of contrast
normalisation, in float32; forward passes included.""",
    run,
    {"batches": 20, "images": 256, "maps": 4, "project_batch": 128},
)
