#!/usr/bin/env bash
# The loader "imagefolder" of datasets gives no labels at all once a single image lies a level deeper.
#
# Versions: datasets 5.2.0, pillow 13.0.0, numpy 2.4.6.
# Guessed:  the label of cat/siamese/1.png is cat, and the labels of the others stay.
# So:       the column `label` is dropped for the whole dataset, silently, when the images lie at
#           different depths, when one lies beside the class folders, or when there is one class only.
# Matters:  a thumbnail left in the root, or one class sorted into subfolders, turns a labelled dataset
#           into an unlabelled one; torchvision's ImageFolder reads the same folder with its classes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
export HF_HUB_OFFLINE=1 HF_HOME="$folder/home"
environment/bin/python - <<'PYTHON'
from pathlib import Path

import datasets
from PIL import Image

datasets.disable_progress_bars()
print("datasets", datasets.__version__)


def labels(root, files):
    for file in files:
        path = Path(root, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    split = datasets.load_dataset("imagefolder", data_dir=root)["train"]
    label = split.features.get("label")
    print(f"{root}: {len(split)} images, classes {None if label is None else label.names}")
    return label


usual = [f"{name}/{number}.png" for name in ("cat", "dog") for number in (1, 2)]
assert labels("plain", usual).names == ["cat", "dog"]
assert labels("one_deeper", [*usual, "cat/siamese/1.png"]) is None
assert labels("one_beside", [*usual, "3.png"]) is None
assert labels("one_class", ["cat/1.png", "cat/2.png"]) is None
PYTHON
