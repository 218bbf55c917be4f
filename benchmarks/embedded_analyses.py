"""The analyses scored on the embedded dataset, by a trained network beside an untrained one.

    python benchmarks/embedded_analyses.py --root data/embedded --ckpt outputs/train/…
                                           [--images 100] [--stride 8]

On test images that the trained network classifies correctly, of all classes alike:

- occlusion: at how many does the square overlap the object's mask where it lowers the probability
  of the class most; chance is the share of all positions that overlap it. Maps on which no position
  is lowest are counted apart.
- projections: the energy of the projection of the strongest unit of the last convolution's
  strongest feature map that lies on the mask, less the share of the unit's window that the mask
  covers. Beside it the same of the gradient, of the image's variance, and of a blob in the middle
  of the window, which knows where the unit is and nothing else.
- correspondence: how far Delta of the eyes and the nose of cats, and of faces, lies below that of
  random places: with what leaves the ReLU, with what enters it, and with those features alone that
  the square changes in both images.

The untrained network is the same one before training, from another seed, and follows the same
classes. Intervals are 95 % percentile bootstraps over images; of the difference of the networks,
over the same images.
"""

import argparse
import copy
import json
import math
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from zf_lightning.analysis import (
    Consistency,
    ObservedNetwork,
    below_random,
    correspondence,
    occlude,
)
from zf_lightning.analysis.faithfulness import trivial_importances
from zf_lightning.data.crops import centre_crop
from zf_lightning.data.decode import STORED_SIZE, load_image
from zf_lightning.deconv import Deconvnet, Units
from zf_lightning.deconv.receptive_field import crop
from zf_lightning.models import initialise
from zf_lightning.tasks.correspondence import in_input
from zf_lightning.training.checkpoint import find_checkpoint, load_classifier
from zf_lightning.training.module import ImageClassifier

GREY, PARTS = 128, ("right_eye", "left_eye", "nose")
DEFINITIONS: dict[str, dict[str, Any]] = {
    "after the ReLU": {},
    "before the ReLU": {"rectified": False},
    "after the ReLU, changed features": {"changed_only": True},
}


def untrained(classifier: ImageClassifier) -> ImageClassifier:
    """The network before training, from another seed."""
    fresh = copy.deepcopy(classifier)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(classifier.seed + 1000)
        initialise(fresh.network, classifier.hparams["model"]["initialisation"])
    return fresh


def chosen_images(
    root: Path, classifier: ImageClassifier, number: int
) -> tuple[list[Path], Tensor]:
    """Test images that are classified correctly, the same number of each class, and labels."""
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classifier.class_names):
        wanted = -(-number // len(classifier.class_names))
        for file in sorted((root / "test" / name).glob("*.jpg")):
            if wanted and int(classifier(load_image(file)[None]).argmax()) == label:
                files.append(file)
                labels.append(label)
                wanted -= 1
    return files, torch.tensor(labels)


def masks_of(root: Path, files: list[Path], classifier: ImageClassifier) -> Tensor:
    """The objects as the network sees them: bool `[N, S, S]`."""
    found = []
    for file in files:
        path = (root / "masks" / file.relative_to(root)).with_suffix(".png")
        with Image.open(path) as opened:
            found.append(transforms.pil_to_tensor(opened.convert("L")))
    preprocessing = classifier.preprocessing
    return (
        centre_crop(preprocessing.resize(torch.stack(found)), preprocessing.input_size)[:, 0] > 127
    )


def occlusion_scores(
    classifier: ImageClassifier, inputs: Tensor, labels: Tensor, masks: Tensor, stride: int
) -> tuple[Tensor, Tensor, int]:
    """Hits `[N]` (NaN where a map is flat), the share of positions that are hits, flat maps."""
    size = round(inputs.shape[-1] / 7)
    found = occlude(
        classifier.network,
        inputs,
        labels=labels.tolist(),
        size=size,
        stride=stride,
        fill=grey_input(classifier),
    )
    hits, chances = [], []
    for one, mask in zip(found, masks, strict=True):
        covered = torch.tensor(
            [
                [bool(mask[top : top + size, left : left + size].any()) for left in one.lefts]
                for top in one.tops
            ]
        )
        place = int(one.log_probability.argmin())
        hits.append(math.nan if one.flat else float(covered.flatten()[place]))
        chances.append(float(covered.float().mean()))
    return torch.tensor(hits), torch.tensor(chances), sum(one.flat for one in found)


def projection_scores(
    classifier: ImageClassifier, inputs: Tensor, masks: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Share of each importance's energy on the mask, and of the window that the mask covers."""
    deconvnet = Deconvnet(classifier.network)
    layer = ObservedNetwork(classifier.network).last_convolution
    maps = deconvnet.forward(inputs, [layer]).outputs[layer]
    strongest = maps.sum((2, 3)).argmax(1)
    each = torch.arange(len(maps))
    places = maps[each, strongest].flatten(1).argmax(1)
    rows, columns = places // maps.shape[3], places % maps.shape[3]
    units = Units(layer, each, strongest, rows, columns)
    trivial = trivial_importances(deconvnet, inputs, units)
    energies = {}
    for method in ("deconvnet", "gradient"):
        found = Deconvnet(classifier.network, method=method).project_windows(inputs, units)
        energies[method] = found.pixels.square().sum(1)
    for name in ("centred blob", "image variance"):
        energies[name] = trivial[name] * found.inside
    size = (found.inside.shape[1], found.inside.shape[2])
    seen = crop(masks[:, None], each, found.tops, found.lefts, size)[0][:, 0]
    shares = seen.sum((1, 2)) / found.inside.sum((1, 2))
    return {
        name: (energy * seen).sum((1, 2)) / energy.sum((1, 2)).clamp(min=1e-30)
        for name, energy in energies.items()
    }, shares


def grey_input(classifier: ImageClassifier) -> Tensor:
    """The grey of the square as the network takes it."""
    grey = torch.full((1, 3, STORED_SIZE, STORED_SIZE), GREY, dtype=torch.uint8)
    return classifier.preprocessing(grey)[0]


def interval(values: Tensor, samples: int = 2000) -> str:
    """Mean of the values that are numbers, and its 95 % interval."""
    values = values[~values.isnan()].double()
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(values), (samples, len(values)), generator=generator)
    low, high = values[drawn].mean(1).quantile(torch.tensor([0.025, 0.975]).double()).tolist()
    return f"{float(values.mean()):+.3f} [{low:+.3f}, {high:+.3f}]"


def report_correspondence(
    root: Path, networks: dict[str, ImageClassifier], name: str, number: int
) -> None:
    """Print how far Delta of the parts of a class's images lies below that of random places."""
    described = json.loads((root / "parts.json").read_text())["images"]
    names = [one for one in sorted(described) if one.startswith(f"test/{name}/")][:number]
    pixels = torch.stack([load_image(root / name) for name in names])
    size = int(next(iter(networks.values())).preprocessing.input_size)
    places = {
        part: in_input(
            torch.tensor([described[name]["parts"][part][::-1] for name in names]).float(), size
        )
        for part in PARTS
    }
    kept = torch.stack([((at >= 0) & (at < size)).all(1) for at in places.values()]).all(0)
    print(f"\ncorrespondence: random - part on {int(kept.sum())} images of {name}")
    for words, options in DEFINITIONS.items():
        found = {
            network: correspondence(
                classifier.network,
                classifier.preprocessing(pixels[kept]),
                {part: at[kept] for part, at in places.items()},
                size=round(size / 7),
                fill=grey_input(classifier),
                draws=5,
                **options,
            )
            for network, classifier in networks.items()
        }
        for layer in found["trained"].parts:
            for part in PARTS:
                cells = [
                    f"{network} "
                    + "{:+.3f} [{:+.3f}, {:+.3f}]".format(
                        *below_random(one.parts[layer][part], one.random[layer])
                    )
                    for network, one in found.items()
                ]
                # The same images: the bootstrap is that of the difference of differences.
                gains = [
                    one.random[layer].distances.nanmean(0) - one.parts[layer][part].distances[0]
                    for one in found.values()
                ]
                zero = Consistency(torch.zeros_like(gains[0])[None])
                more = below_random(zero, Consistency((gains[0] - gains[1])[None]))
                cells.append("trained - untrained {:+.3f} [{:+.3f}, {:+.3f}]".format(*more))
                print(f"  {words:<34}{layer:<6}{part:<10}" + "  ".join(cells), flush=True)


def report_projections(networks: dict[str, ImageClassifier], inputs: Tensor, masks: Tensor) -> None:
    """Print the energy on the mask, of both networks and of their difference."""
    gains: dict[str, dict[str, Tensor]] = {}
    for network, classifier in networks.items():
        inside, shares = projection_scores(classifier, inputs, masks)
        gains[network] = {name: of_name - shares for name, of_name in inside.items()}
        print(f"  {network}: the mask's share of the window {interval(shares)}")
        for name, of_name in inside.items():
            less = interval(gains[network][name] - gains[network]["centred blob"])
            print(
                f"    {name:<15} energy on the mask {interval(of_name)}, "
                f"less its share {interval(gains[network][name])}, less the blob's {less}",
                flush=True,
            )
    for name, of_name in gains["trained"].items():
        more = of_name - gains["untrained"][name]
        over_blob = more - gains["trained"]["centred blob"] + gains["untrained"]["centred blob"]
        print(
            f"  trained - untrained: {name} {interval(more)}, beyond the blob {interval(over_blob)}"
        )


def report_occlusion(
    networks: dict[str, ImageClassifier],
    inputs: Tensor,
    labels: Tensor,
    masks: Tensor,
    stride: int,
) -> None:
    """Print how often the square that hurts most overlaps the mask."""
    hits: dict[str, Tensor] = {}
    for name, classifier in networks.items():
        hits[name], chances, flat = occlusion_scores(classifier, inputs, labels, masks, stride)
        print(
            f"  {name:<10} occlusion: on the mask {interval(hits[name])} of "
            f"{int((~hits[name].isnan()).sum())} maps, {flat} flat; chance {interval(chances)}",
            flush=True,
        )
    print(f"  trained - untrained: occlusion {interval(hits['trained'] - hits['untrained'])}")


@torch.no_grad()
def main() -> None:
    """Score both networks and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="folder of the embedded dataset")
    parser.add_argument("--ckpt", required=True, help="a run's folder or a checkpoint file")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--heads", type=int, default=100, help="images of cats, and of faces")
    parser.add_argument("--stride", type=int, default=8)
    analyses = ("projections", "occlusion", "correspondence")
    parser.add_argument("--only", nargs="+", choices=analyses, default=analyses)
    options = parser.parse_args()
    trained = load_classifier(find_checkpoint(options.ckpt)).eval()
    networks = {"trained": trained, "untrained": untrained(trained)}
    files, labels = chosen_images(options.root, trained, options.images)
    masks = masks_of(options.root, files, trained)
    inputs = trained.preprocessing(torch.stack([load_image(file) for file in files]))
    print(f"{len(files)} test images that the trained network classifies correctly")
    if "projections" in options.only:
        report_projections(networks, inputs, masks)
    if "occlusion" in options.only:
        report_occlusion(networks, inputs, labels, masks, options.stride)
    for name in ("cat", "face") if "correspondence" in options.only else ():
        report_correspondence(options.root, networks, name, options.heads)


if __name__ == "__main__":
    main()
