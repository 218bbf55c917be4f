#!/usr/bin/env bash
# The loader "imagefolder" of datasets takes a class called bullet_train for the training split.
#
# Versions: datasets 5.2.0, pillow 13.0.0, numpy 2.4.6.
# Guessed:  cat/, dog/ and bullet_train/ are three classes of one split.
# So:       a word like train, test, dev or valid anywhere in a folder's or a file's name, between
#           separators, names a split. Then only the files that name one are loaded: 2 of 6 images, and
#           the labels are gone, without a warning. One picture called test-1.png does the same.
# Matters:  class folders are called so (ImageNet has a "bullet train"; test_tube, train_station).
#           Compare the number of images with that of the files.
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


def load(root, files):
    for file in files:
        path = Path(root, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    splits = datasets.load_dataset("imagefolder", data_dir=root)
    found = {name: (len(split), "label" in split.features) for name, split in splits.items()}
    print(f"{root}: {len(files)} files; loaded (images, labels): {found}")
    return found


usual = [f"{name}/{number}.png" for name in ("cat", "dog") for number in (1, 2)]
assert load("plain", usual) == {"train": (4, True)}
train = load("train_in_a_class", [*usual, "bullet_train/1.png", "bullet_train/2.png"])
assert train == {"train": (2, False)}
assert load("tube", [*usual, "test_tube/1.png"]) == {"test": (1, False)}
assert load("test_in_a_file", [*usual, "dog/test-1.png"]) == {"test": (1, False)}
PYTHON
