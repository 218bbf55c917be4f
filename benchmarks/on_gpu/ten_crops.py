"""Ten-crop evaluation against single-crop evaluation: crops a second, images in memory."""

import argparse

import torch
from training import now

from on_gpu.command import (
    Command,
    autocast,
    begin,
    fast_classifier,
    print_rates,
    random_batch,
    ratio,
    take_turns,
)


@torch.inference_mode()
def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    device = begin(options)
    classifier = fast_classifier(options, device).eval()
    images = random_batch(options, device).images

    def one_crop() -> float:
        began = now(device)
        with autocast(device):
            for _ in range(10 * options.batches):
                classifier(images)
        return now(device) - began

    def ten_crops() -> float:
        began = now(device)
        with autocast(device):
            for _ in range(options.batches):
                classifier.crop_probabilities(images)
        return now(device) - began

    found = take_turns({"one crop": one_crop, "ten crops": ten_crops}, options.repetitions)
    print_rates(found, 10 * options.batches * options.batch_size, "crops")
    print(f"  rate of ten crops / one crop {ratio(found, 'one crop', 'ten crops')}: at least 0.9")


COMMAND = Command(
    """Crops a second of `ImageClassifier.crop_probabilities` and of single centre crops, with as
many crops in each forward pass, uint8 images on the device.""",
    run,
    {"batches": 10},
)
