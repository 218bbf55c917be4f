#!/usr/bin/env bash
# datasets forgets what was painted on a Pillow image: it stores the file that the image came from.
#
# Versions: datasets 5.2.0, pillow 13.0.0, numpy 2.4.6.
# Guessed:  a Pillow image put into a dataset is stored with its pixels.
# So:       if the image still knows its file, only the path is stored. What was changed in place since
#           (paste, ImageDraw, putpixel, thumbnail) is not in the dataset, in from_dict and in map; a
#           copy of the image is stored as it is.
# Matters:  occlusion paints a grey square into an image, masks and blurs are pasted. A dataset of
#           occluded images made so holds the unoccluded ones, and every score says that occlusion
#           does nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
export HF_HUB_OFFLINE=1 HF_HOME="$folder/home"
environment/bin/python - <<'PYTHON'
import datasets
import PIL
from PIL import Image

datasets.disable_progress_bars()
print("datasets", datasets.__version__, "pillow", PIL.__version__)
Image.new("RGB", (32, 32), "red").save("photo.png")
GREY, RED = (128, 128, 128), (255, 0, 0)


def occluded(copy):
    image = Image.open("photo.png")
    image = image.copy() if copy else image
    image.paste(GREY, (0, 0, 16, 16))
    assert image.getpixel((0, 0)) == GREY
    return image


def occlude(row):
    row["image"].paste(GREY, (0, 0, 16, 16))
    return row


found = {}
for copy in (False, True):
    data = datasets.Dataset.from_dict({"image": [occluded(copy)]})
    found[f"from_dict, {'a copy' if copy else 'in place'}"] = data[0]["image"].getpixel((0, 0))
data = datasets.Dataset.from_dict({"image": ["photo.png"]})
data = data.cast_column("image", datasets.Image()).map(occlude)
found["map, in place"] = data[0]["image"].getpixel((0, 0))
small = Image.open("photo.png")
small.thumbnail((8, 8))
size = datasets.Dataset.from_dict({"image": [small]})[0]["image"].size
for name, pixel in found.items():
    print(f"{name:20} pixel under the grey square: {pixel}")
print(f"thumbnail in place: {small.size} in memory, {size} in the dataset")
assert found == {"from_dict, in place": RED, "from_dict, a copy": GREY, "map, in place": RED}
assert size == (32, 32)
PYTHON
