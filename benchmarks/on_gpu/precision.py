"""Does mixed precision change what excites a feature map most?"""

import argparse
import contextlib
from collections.abc import Iterable, Iterator

import torch
from probe import zfnet
from torch import Tensor

from on_gpu.command import Command, autocast, begin
from zf_lightning.atlas import TopActivations, TopImages
from zf_lightning.data import ImageDataModule, UnlabelledImages
from zf_lightning.deconv import Deconvnet, Unit
from zf_lightning.embedded.draw import draw_image
from zf_lightning.training.checkpoint import find_checkpoint, load_classifier
from zf_lightning.training.module import ImageClassifier


def run(options: argparse.Namespace) -> None:
    """Find the top 9 in each arithmetic, compare them, and project some in float32."""
    device = begin(options)
    if options.ckpt:
        classifier = load_classifier(find_checkpoint(options.ckpt))
        print(f"weights of {options.ckpt}")
    else:
        classifier = zfnet(1000, width=options.width, input_size=options.input_size)
        print("random weights: their activations are closer together than those of learnt ones")
    classifier = classifier.to(device).eval()
    classifier.network.to(memory_format=torch.channels_last)
    deconvnet = Deconvnet(classifier.network)
    size = classifier.preprocessing.input_size
    layers = deconvnet.find_layers("conv")
    counts = {layer: s[0] for layer, s in deconvnet.shapes(layers, (size, size)).items()}
    images = torch.cat(list(pictures(options)))
    compiled = deconvnet.compiled_with_feature_maps(layers) if options.compile else None

    @torch.inference_mode()
    def top(*, mixed: bool, tf32: bool = False, fast: bool = False) -> dict[str, TopImages]:
        metric = TopActivations(counts).to(device)
        torch.backends.cudnn.allow_tf32 = tf32
        for start in range(0, len(images), options.batch_size):
            some = images[start : start + options.batch_size].to(device)
            indices = torch.arange(start, start + len(some), device=device)
            with autocast(device) if mixed else contextlib.nullcontext():
                inputs = classifier.preprocessing(some)
                if fast and compiled is not None:
                    outputs = compiled(inputs)[1]
                else:
                    outputs = deconvnet.feature_maps(inputs, layers)
            metric.update(outputs, indices)
        return metric.compute()

    exact = top(mixed=False)
    others = {"bfloat16": top(mixed=True), "TF32 convolutions": top(mixed=False, tf32=True)}
    if options.compile:
        others["bfloat16, compiled"] = top(mixed=True, fast=True)
    torch.backends.cudnn.allow_tf32 = False
    print(f"{len(images):,} images; share of the top 9 that is that of float32, mean of the maps")
    for name, found in others.items():
        shares = {layer: overlap(found[layer], exact[layer]) for layer in layers}
        firsts = {
            layer: 100
            * float((found[layer].indices[:, 0] == exact[layer].indices[:, 0]).float().mean())
            for layer in layers
        }
        print(
            f"  {name:<20}" + "".join(f" {layer} {value:5.1f} %" for layer, value in shares.items())
        )
        print(
            f"  {'  the strongest':<20}"
            + "".join(f" {n} {value:5.1f} %" for n, value in firsts.items())
        )
    print(f"the probe's values are {recomputed(classifier, deconvnet, others['bfloat16'], images)}")


def overlap(found: TopImages, exact: TopImages) -> float:
    """Percentage of the images of `exact` that are in `found`, over the maps that have any."""
    both = (found.indices[:, :, None] == exact.indices[:, None, :]) & exact.present[:, None, :]
    held = exact.present.sum(1)
    alive = held > 0
    return 100 * float((both.sum((1, 2))[alive] / held[alive]).mean())


def recomputed(
    classifier: ImageClassifier, deconvnet: Deconvnet, top: dict[str, TopImages], images: Tensor
) -> str:
    """What type projections and activations have under mixed precision, as the probe makes them."""
    layer, found = next(reversed(top.items()))
    place = int(found.activations[:, 0].argmax())
    unit = Unit(
        image=0,
        layer=layer,
        feature_map=place,
        row=int(found.rows[place, 0]),
        column=int(found.columns[place, 0]),
    )
    one = images[int(found.indices[place, 0])][None].to(classifier.device)
    with autocast(classifier.device):
        projections = deconvnet.project(classifier.preprocessing(one), [unit])
    recorded, again = float(found.activations[place, 0]), float(projections.activations[0])
    types = {projections.pixels.dtype, projections.activations.dtype, found.activations.dtype}
    assert types == {torch.float32}, types
    return f"float32: {layer} map {place} recorded {recorded:.5g} in bfloat16, again {again:.5g}"


def pictures(options: argparse.Namespace) -> Iterable[Tensor]:
    """uint8 `[N, 3, 256, 256]`: those of `--folder`, or drawn ones."""
    if options.folder:
        source = UnlabelledImages(options.folder)
        loader = ImageDataModule(source, batch_size=64).val_dataloader()
        yield from (batch.images for batch in loader)
        return
    drawn: Iterator[Tensor] = (
        torch.from_numpy(draw_image(0, "val", number).image).permute(2, 0, 1)[None]
        for number in range(options.images)
    )
    yield from drawn


COMMAND = Command(
    """The top 9 images of each feature map found under bfloat16 autocast, under TF32, and compiled,
against those of float32; --ckpt FILE or RUN_FOLDER, --folder FOLDER of images, or random weights
and drawn images. Checks that the probe projects in float32.""",
    run,
    {"ckpt": None, "folder": None, "images": 1000},
)
