#!/usr/bin/env bash
# Deconvolution of Captum and zennit rectifies at modules of the class nn.ReLU, and nowhere else.
#
# Versions: captum 0.9.0, zennit 0.5.1, torch 2.9.1 (CPU, x86-64).
# Guessed:  a ReLU is rectified on the way down however it is written, or something is said.
# So:       torch.nn.functional.relu and nn.ReLU6 go back as their plain gradient, without a word. Captum
#           besides loses a skip connection that starts before a ReLU: its projection is that of the
#           network without the skip. zennit keeps it. Both project a unit that the image does not excite.
# Matters:  most residual networks call functional.relu or skip around a ReLU, mobile ones use ReLU6: the
#           picture is a mixture of deconvnet and gradient. Projections of two tools differ for that reason.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check captum==0.9.0 zennit==0.5.1 torch==2.9.1 torchvision==0.24.1
environment/bin/python - <<'PYTHON'
import copy
import warnings

import captum
import torch
import torch.nn.functional as F
from captum.attr import NeuronDeconvolution
from torch import nn
from zennit.composites import DeconvNet

warnings.filterwarnings("ignore")
print("captum", captum.__version__, "torch", torch.__version__)


class Rectified(torch.autograd.Function):
    """ReLU whose backward pass is the ReLU of the signal (Zeiler and Fergus, section 2.1)."""

    @staticmethod
    def forward(context, values):
        return values.relu()

    @staticmethod
    def backward(context, signal):
        return signal.relu()


class Network(nn.Module):
    """Two convolutions, the first followed by a ReLU in some form."""

    def __init__(self, form, skip=False):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu = {"module": nn.ReLU(), "function": None, "six": nn.ReLU6()}[form]
        self.last = nn.ReLU()
        self.skip, self.cut = skip, False

    def forward(self, images, relu=None):
        values = self.first(images)
        rectified = (relu or self.relu or F.relu)(values)
        # Cut, it is there on the way up and not on the way down.
        skipped = values.detach() if self.cut else values
        return self.last(self.second(rectified) + (skipped if self.skip else 0))


torch.manual_seed(1)
images = torch.rand(1, 3, 13, 13)


def gradient(network, at, relu=None):
    pixels = images.clone().requires_grad_()
    return torch.autograd.grad(network(pixels, relu)[at], pixels)[0]


def by_captum(network, at):
    method = NeuronDeconvolution(network, network.last)
    return method.attribute(images.clone().requires_grad_(), neuron_selector=at[1:]).detach()


def by_zennit(network, at):
    pixels = images.clone().requires_grad_()
    with DeconvNet().context(copy.deepcopy(network)) as rectified:
        return torch.autograd.grad(rectified(pixels)[at], pixels)[0]


def far(first, second):
    return float((first - second).norm() / second.norm())


for form, skip in (("module", False), ("function", False), ("six", False), ("module", True)):
    network = Network(form, skip).eval()
    maps = network(images)
    at = tuple(int(n) for n in torch.unravel_index(maps.argmax(), maps.shape))
    expected = gradient(network, at, Rectified.apply)
    found = {"captum": by_captum(network, at), "zennit": by_zennit(network, at)}
    for library, projection in found.items():
        distance = far(projection, expected)
        print(f"{form:9} skip={skip!s:5} {library}: {distance:.3f} from the deconvnet, "
              f"{far(projection, gradient(network, at)):.3f} from the gradient")
        if form == "module" and not (skip and library == "captum"):
            assert distance < 1e-5
        else:
            assert distance > 0.05
    if form != "module":
        assert all(far(p, gradient(network, at)) < 1e-5 for p in found.values())
    if skip:
        without = copy.deepcopy(network)
        without.cut = True
        assert far(found["captum"], gradient(without, at, Rectified.apply)) < 1e-5

network = Network("module").eval()
dead = tuple(int(n) for n in (network(images) == 0).nonzero()[0])
for library, project in (("captum", by_captum), ("zennit", by_zennit)):
    print(f"a unit at 0 has a projection to {library}:", bool(project(network, dead).any()))
    assert project(network, dead).any()
PYTHON
