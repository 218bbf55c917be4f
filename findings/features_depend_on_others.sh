#!/usr/bin/env bash
# What torchvision and torchcam give as a layer's feature maps is what a later in-place ReLU left of them.
#
# Versions: torchvision 0.24.1, torchcam 0.5.0, torch 2.9.1 (CPU, x86-64).
# Guessed:  `create_feature_extractor` gives a layer's output, whatever other layers are asked for; networks
#           that compute the same have the same class activation maps.
# So:       asked for conv1 of AlexNet alone, torchvision gives what conv1 computed. Asked for conv1 and conv2,
#           it gives conv1 rectified, half of its values being zeros: AlexNet's ReLUs work in place, and the
#           extractor keeps the same memory. torchcam keeps it too (`detach` copies nothing): Grad-CAM of
#           conv5 changes when the ReLUs are told not to work in place, which changes no output. None warns.
# Matters:  AlexNet, VGG, GoogLeNet, ResNet and most others of torchvision work in place, ResNet also adds its
#           skips so. Statistics of a layer (share of dead maps, quantiles, what excites it least) are wrong,
#           and depend on which other layers were asked for.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check torch==2.9.1 torchvision==0.24.1 torchcam==0.5.0
environment/bin/python - <<'PYTHON'
import copy
from importlib.metadata import version

import torch
import torchvision
from torch import nn
from torchcam.methods import GradCAM
from torchvision.models.feature_extraction import create_feature_extractor

print("torchvision", version("torchvision"), "torchcam", version("torchcam"), "torch", torch.__version__)
torch.manual_seed(0)
network = torchvision.models.alexnet(weights=None).eval()
apart = copy.deepcopy(network)
for module in apart.modules():
    if isinstance(module, nn.ReLU):
        module.inplace = False
image = torch.randn(1, 3, 224, 224)
assert torch.equal(network(image), apart(image))
conv1 = network.features[0](image).detach()
negative = (conv1 < 0).float().mean().item()
print(f"conv1 itself: {negative:.0%} of the values are negative")
for layers in (["features.0"], ["features.0", "features.3"]):
    with torch.no_grad():
        found = create_feature_extractor(network, layers)(image)["features.0"]
    right = torch.allclose(found, conv1)
    print(f"asked for {layers}: {(found < 0).float().mean().item():.0%} negative, {'right' if right else 'rectified'}")
    assert right == (len(layers) == 1) and (right or torch.allclose(found, conv1.relu()))
maps = []
for one in (network, apart):
    with GradCAM(one, "features.10") as extractor:
        scores = one(image)
        maps.append(extractor(3, scores)[0])
difference = (maps[0] - maps[1]).abs().max().item()
print(f"Grad-CAM of conv5, 0 to 1, of two networks with equal outputs: {difference:.2f} apart")
assert difference > 0.05
PYTHON
