"""Ten-crop evaluation from JPEG files to probabilities, ZFNet: the usual recipe and ours.

    python benchmarks/ten_crop_evaluation.py FOLDER [--images 40] [--repetitions 5] [--workers 1]

FOLDER holds photographs, at any depth. The usual recipe cuts each image in ten in the workers and
runs PyTorch's `nn.LocalResponseNorm` on memory as it lies. Ours is what `ImageClassifier` does in a
test: one uint8 picture an image, crops of whole batches on the device. Both have the same weights
and the same normalisation. The bare forward passes run our network on crops that are ready, in the
same layout of memory. All take turns, each with loaders of its own; milliseconds are those of all
processors, of this process and its workers together.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from data import processor_seconds
from photographs import lay_out
from probe import zfnet
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torchvision.transforms.functional import to_pil_image
from usual_recipe import TEN_CROPS, TEN_OF_SQUARE, image_folder

from zf_lightning.data import FolderSource, ImageDataModule
from zf_lightning.data.crops import TEN
from zf_lightning.training.module import ImageClassifier

BATCH = 8


def usual_network(classifier: ImageClassifier) -> nn.Module:
    """The same network with PyTorch's contrast normalisation, memory as it lies."""
    network = zfnet(1000).network
    network.load_state_dict(classifier.network.state_dict())
    for name, module in network.named_children():
        if isinstance(module, nn.LocalResponseNorm):
            constants = (module.size, module.alpha, module.beta, module.k)
            setattr(network, name, nn.LocalResponseNorm(*constants))
    return network.eval()


def usual(root: Path, network: nn.Module, count: int, workers: int) -> Tensor:
    """Probabilities `[N, classes]`, the crops of a batch as one larger batch."""
    files = Subset(image_folder(root, TEN_CROPS), range(count))
    found = []
    for crops, _ in DataLoader(files, BATCH, num_workers=workers):
        scores = network(crops.flatten(0, 1)).softmax(1)
        found.append(scores.unflatten(0, crops.shape[:2]).mean(1))
    return torch.cat(found)


def ours(data: ImageDataModule, classifier: ImageClassifier) -> Tensor:
    """Probabilities `[N, classes]`, in the order of the files."""
    found, indices = [], []
    for batch in data.test_dataloader():
        found.append(probabilities(classifier, batch.images))
        indices.append(batch.indices)
    return torch.cat(found)[torch.cat(indices).argsort()]


def probabilities(classifier: ImageClassifier, images: Tensor) -> Tensor:
    """What `ImageClassifier.test_step` computes: the mean of the softmax over the ten crops."""
    total = torch.zeros(())
    for crops in classifier.preprocessing.ten_crops(images):
        total = total + classifier.network(crops).float().softmax(1)
    return total / TEN


def bare(crops: list[Tensor], network: nn.Module) -> None:
    """The forward passes alone."""
    for crop in crops:
        network(crop)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        root = lay_out(options.folder, Path(temporary), 1, distinct=options.images)
        run(root, options.repetitions, options.workers)


@torch.no_grad()
def run(root: Path, repetitions: int, workers: int) -> None:
    """Let the cases take turns, print medians and ratios."""
    classifier = zfnet(1000)
    theirs = usual_network(classifier)
    data = ImageDataModule(FolderSource(root), batch_size=BATCH, workers=workers)
    count = data.length("test")
    batches = [batch.images for batch in data.test_dataloader()]
    crops = [crop for images in batches for crop in classifier.preprocessing.ten_crops(images)]

    def half(work: Callable[[], object]) -> Callable[[], object]:
        def run_half() -> object:
            with torch.autocast("cpu", torch.bfloat16):
                return work()

        return run_half

    cases: dict[str, Callable[[], object]] = {
        "usual recipe": lambda: usual(root / "val", theirs, count, workers),
        "ours": lambda: ours(data, classifier),
        "bare forward": lambda: bare(crops, classifier.network),
    }
    cases["ours, bfloat16"] = half(cases["ours"])
    cases["bare forward, bfloat16"] = half(cases["bare forward"])
    from_files = (ours(data, classifier) - usual(root / "val", theirs, count, workers)).abs()
    pictures = [to_pil_image(image) for image in batches[0]]
    ten = torch.stack([TEN_OF_SQUARE(picture) for picture in pictures])
    same = theirs(ten.flatten(0, 1)).softmax(1).unflatten(0, (len(pictures), 10)).mean(1)
    of_pixels = (probabilities(classifier, batches[0]) - same).abs()
    milliseconds: dict[str, list[float]] = {name: [] for name in cases}
    for repetition in range(repetitions + 1):
        for name, case in cases.items():
            began = processor_seconds()
            case()
            if repetition:
                milliseconds[name].append(1e3 * (processor_seconds() - began) / count)
    pixels, files = float(of_pixels.max()), float(from_files.max())
    print(f"{count} images; largest difference of a probability:")
    print(f"  of the same pixels {pixels:.1e}, of files {files:.1e}")
    for name, values in milliseconds.items():
        print(f"  {name:<22} {statistics.median(values):7.1f} ms an image")
    for one, other in (
        ("usual recipe", "ours"),
        ("usual recipe", "ours, bfloat16"),
        ("ours", "bare forward"),
        ("ours, bfloat16", "bare forward, bfloat16"),
    ):
        pairs = zip(milliseconds[one], milliseconds[other], strict=True)
        ratios = [a / b for a, b in pairs]
        spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"  {one} against {other}: {statistics.median(ratios):.2f} {spread}")


if __name__ == "__main__":
    main()
