#!/usr/bin/env bash
# pytorch-grad-cam's guided backpropagation: the second class of an image is added to the first.
#
# Versions: grad-cam 1.5.7, torch 2.9.1 (CPU, x86-64).
# Guessed:  two classes of one image have two pictures, each as if it were asked for alone, and the network
#           is afterwards what it was.
# So:       on a CPU the gradient of the image that is passed in is never emptied. The second picture is the
#           sum of both, and the array of the first, which was returned before, is overwritten with the same
#           sum: the two are equal. The weights' gradients stay, for the next optimizer step to add. Every
#           nn.ReLU of the network has become one and the same module: a hook on one hears all of them, and
#           those that were registered are gone.
# Matters:  the figure compares "what speaks for the cat" with "what speaks for the dog" and shows twice the
#           same picture, of neither. Pass a copy of the image and of the network each time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check grad-cam==1.5.7 torch==2.9.1 torchvision==0.24.1
environment/bin/python - <<'PYTHON'
import copy
from importlib.metadata import version

import numpy as np
import torch
from pytorch_grad_cam import GuidedBackpropReLUModel
from torch import nn

print("grad-cam", version("grad-cam"), "torch", torch.__version__)
torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU(),
    nn.Flatten(), nn.Linear(8 * 11 * 11, 10),
)
image = torch.rand(1, 3, 56, 56)


def alone(target):
    return GuidedBackpropReLUModel(copy.deepcopy(network))(image.clone(), target)


cat, dog = alone(1), alone(2)
print(f"alone: cat {np.abs(cat).sum():.3f}, dog {np.abs(dog).sum():.3f}, apart {np.abs(cat - dog).max():.4f}")
heard = []
network[1].register_forward_hook(lambda *of: heard.append("old hook"))
project = GuidedBackpropReLUModel(network)
first = project(image, 1)
print("first picture, as returned:", "its own" if np.allclose(first, cat) else "another")
assert np.allclose(first, cat)
second = project(image, 2)
print("second picture:", "its own" if np.allclose(second, dog) else "the sum" if np.allclose(second, cat + dog) else "another")
print("first picture now:", "its own" if np.allclose(first, cat) else "the sum" if np.allclose(first, cat + dog) else "another")
assert np.allclose(second, cat + dog) and np.allclose(first, cat + dog)
print("gradients in the weights:", network[0].weight.grad is not None)
assert network[0].weight.grad is not None
network[1].register_forward_hook(lambda module, inputs, output: heard.append(tuple(output.shape)))
network(image)
print("hooks on the first ReLU hear:", heard)
assert network[1] is network[4] and heard == [(1, 8, 26, 26), (1, 8, 11, 11)]
PYTHON
